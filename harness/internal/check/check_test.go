package check

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

func TestCheck(t *testing.T) {
	r, err := Check(context.Background(), fixtures.FS, harnesstest.BuiltIn())
	require.NoError(t, err)
	require.True(t, r.OK())
	require.Equal(t, len(r.Results), r.Count(report.Pass)+r.Count(report.Skip))
	require.GreaterOrEqual(t, r.Count(report.Pass), 190)
	for _, result := range r.Results {
		require.True(t, result.Verdict == report.Pass || harnesstest.IsModule(result.Case), result.Case)
	}
	require.Equal(t, "PyTorch 2.15.0", r.Suite)

	r, err = Check(t.Context(), fixtures.FS, harnesstest.Unmasked(), "seed/unmasked", "sdpa/causal", "seed/causal")
	require.NoError(t, err, "a wrong subject is a report")
	require.False(t, r.OK())
	var verdicts []report.Verdict
	for _, result := range r.Results {
		verdicts = append(verdicts, result.Verdict)
	}
	require.Equal(t, []report.Verdict{report.Pass, report.Skip, report.Fail}, verdicts)
}

func TestCheckCannotBeCarriedOut(t *testing.T) {
	_, err := Check(context.Background(), fstest.MapFS{}, harnesstest.BuiltIn())
	require.ErrorContains(t, err, "no case found")

	_, err = Check(context.Background(), fixtures.FS, harnesstest.BuiltIn(), "seed/none", "seed/causal")
	require.ErrorContains(t, err, `case "seed/none": the suite has no such case`)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r, err := Check(ctx, fixtures.FS, harnesstest.BuiltIn())
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, r.Results)
}

func TestCheckGoesOnAfterABrokenCase(t *testing.T) {
	suite := fstest.MapFS{"gone/case.json": {Data: []byte("{}")}, "lost/x.npy": {}}
	r, err := Check(context.Background(), suite, harnesstest.BuiltIn())
	require.ErrorContains(t, err, "gone/case.json: version: 0, want 1")
	require.ErrorContains(t, err, "lost/x.npy: belongs to no case")
	require.Len(t, r.Broken, 2)
	require.False(t, r.OK(), "nothing was judged")
}

// A subject that changes its inputs fails, even if its output is right.
func TestBadBehaviourFails(t *testing.T) {
	s := subject.Subject{SDPA: func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		out, err := attention.SDPA(q, k, v, o)
		q.Data[0]++
		return out, err
	}}
	r := judged(t, s, harnesstest.ReadCase(t, "sdpa/causal"))
	require.Equal(t, report.Fail, r.Verdict)
	require.Equal(t, []string{"the subject changes its input query"}, r.Findings)
	require.True(t, r.Comparison.OK())
}

// replying is a runner that answers with a function.
type replying struct {
	subject.Subject
	run func(c *fixture.Case) subject.Result
}

func (r replying) Run(_ context.Context, c *fixture.Case) subject.Result { return r.run(c) }

// A case that cannot be handed to the subject is broken. The subject is not to blame.
func TestCasesThatCannotBeHandedOver(t *testing.T) {
	s := replying{run: func(c *fixture.Case) subject.Result {
		if c.Name == "sdpa/alibi" {
			return subject.Result{Err: fmt.Errorf("no room on the disk: %w", subject.ErrNotRun)}
		}
		return harnesstest.BuiltIn().Run(t.Context(), c)
	}}
	r, err := Check(t.Context(), fixtures.FS, s, "sdpa/softcap", "sdpa/alibi", "sdpa/causal")
	require.EqualError(t, err, "sdpa/alibi: no room on the disk: the case could not be handed to the subject")
	require.Equal(t, []report.Broken{{Case: "sdpa/alibi", Err: err.Error()}}, r.Broken)
	require.Equal(t, 2, r.Count(report.Pass))
}

// A run that ctx ended is no error of the subject.
func TestARunThatIsEndedIsNoError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := replying{run: func(c *fixture.Case) subject.Result {
		if c.Name == "sdpa/alibi" {
			cancel()
			return subject.Result{Err: fmt.Errorf("the process was killed: %w", ctx.Err())}
		}
		return harnesstest.BuiltIn().Run(t.Context(), c)
	}}
	r, err := Check(ctx, fixtures.FS, s, "sdpa/softcap", "sdpa/alibi", "sdpa/causal")
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, r.Count(report.Error))
	require.Empty(t, r.Broken)
	for _, result := range r.Results {
		require.Equal(t, "sdpa/softcap", result.Case)
	}
}

// The JSON report can be read back, and holds no bare NaN.
func TestJSONReport(t *testing.T) {
	s := harnesstest.Unmasked()
	s.SDPA = func(q, _, _ *attention.Tensor, _ attention.SDPAOptions) (*attention.Tensor, error) {
		return attention.NewTensor(q.Shape...), nil // zeros: the cosine is NaN
	}
	r, err := Check(context.Background(), fixtures.FS, s, "sdpa/causal", "seed/causal", "seed/unmasked")
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, report.JSON(&out, r))

	var got struct {
		Version int
		Results []struct {
			Case, Verdict, Class string
			Comparison           struct{ Cosine any }
			Structure            *struct{ Rows []string }
			Matches              []struct{ ID string }
			Findings             []string
		}
		Summary map[string]int
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &got))
	require.Equal(t, 1, got.Version)
	require.Equal(t, map[string]int{"pass": 1, "fail": 2, "error": 0, "skip": 0, "known": 0, "broken": 0}, got.Summary)
	zeros, unmasked, right := got.Results[0], got.Results[1], got.Results[2]
	require.Equal(t, "dead", zeros.Class)
	require.Equal(t, "NaN", zeros.Comparison.Cosine)
	require.Equal(t, "missing-feature", unmasked.Class)
	require.Equal(t, "causal-missing", unmasked.Matches[0].ID)
	require.Equal(t, strings.Repeat("x", 11)+".", unmasked.Structure.Rows[0])
	require.Equal(t, "match", right.Class)
	require.Nil(t, right.Structure)
	require.NotNil(t, right.Findings)
}
