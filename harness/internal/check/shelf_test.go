package check

import (
	"context"
	"io/fs"
	"maps"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// The shelf keeps cases as long as there is room, and reads others again, once.
func TestShelfReadsCasesAgain(t *testing.T) {
	a, b := harnesstest.ReadCase(t, "sdpa/softcap"), harnesstest.ReadCase(t, "sdpa/causal")
	s := newShelf(fixtures.FS)
	s.free = a.Bytes() + b.Bytes() - 1
	s.offer(a.Name, a)
	s.offer(b.Name, b)
	require.Same(t, a, s.get(a.Name))
	again := s.get(b.Name)
	require.NotSame(t, b, again)
	require.Equal(t, b, again)
	require.Same(t, again, s.get(b.Name))
	require.Nil(t, s.get("sdpa/alibi"))

	s.keep(b.Name, b) // of a failure
	require.Same(t, b, s.get(b.Name))
}

// A case whose files are no longer there is unknown.
func TestShelfForgetsCasesThatAreGone(t *testing.T) {
	c := harnesstest.ReadCase(t, "sdpa/softcap")
	s := newShelf(fstest.MapFS{})
	s.free = 0
	s.offer(c.Name, c)
	require.Nil(t, s.get(c.Name))
}

// A run keeps the case, the output and the distances of a failure, and none of a right output.
func TestWorkLetsRightOutputsGo(t *testing.T) {
	truth := compare.Expected{Shape: []int{1}, Value: []float64{0}, Sigma: []float64{1e-3}}
	ran := subject.Result{Precision: "float16"}
	for _, tc := range []struct {
		got  float64
		kept bool
	}{{0, false}, {1, true}} {
		verdict := map[bool]report.Verdict{false: report.Pass, true: report.Fail}[tc.kept]
		c := &fixture.Case{Name: "a"}
		compared := compare.Outputs(truth.Shape, []float64{tc.got}, truth)
		turn := turn{c: c, ran: ran, result: report.Result{
			Verdict: verdict, Got: []float64{tc.got}, Comparison: compared, PyTorch: compared,
		}}
		turn.letGo(newShelf(fixtures.FS), "a")
		require.NotNil(t, turn.c, "no verdict yet")
		turn.done = true
		turn.letGo(newShelf(fixtures.FS), "a")
		require.Equal(t, tc.kept, turn.c != nil)
		require.Equal(t, tc.kept, turn.ran.Precision != "")
		for _, n := range []int{len(turn.result.Got), len(turn.result.Comparison.Z), len(turn.result.PyTorch.Z)} {
			require.Equal(t, tc.kept, n == 1)
		}
	}
}

// readsOf counts how often each file of a suite is opened.
type readsOf struct {
	fs.FS
	reads map[string]int
}

func (r readsOf) Open(name string) (fs.File, error) {
	r.reads[name]++
	return r.FS.Open(name)
}

// Nobody asks for the cases of a run without failures again.
func TestARunWithoutFailuresReadsNothingTwice(t *testing.T) {
	processors(t, 1)
	suite := readsOf{fixtures.FS, map[string]int{}}
	names := []string{"seed/causal", "sdpa/causal", "mha/causal"}
	for _, name := range names {
		_, err := fixture.Read(suite, name)
		require.NoError(t, err)
	}
	once := maps.Clone(suite.reads)
	for _, room := range []int{0, shelfSize} {
		clear(suite.reads)
		q := newQueue(t.Context(), suite, names)
		q.shelf.free = room
		w := work{judge: func(_ context.Context, turn *turn) (report.Result, error) {
			result := report.Result{Case: turn.c.Name, Verdict: report.Pass}
			result.Comparison = compare.Comparison{Elements: 1, GotShape: []int{1}, WantShape: []int{1}}
			return result, nil
		}}
		r := &report.Report{}
		require.NoError(t, w.through(t.Context(), r, q))
		require.Equal(t, names, caseNames(r))
		require.Equal(t, once, suite.reads)
	}
}
