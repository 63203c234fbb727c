package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/report"
)

func TestCheck(t *testing.T) {
	r, err := Check(context.Background(), fixtures.FS, builtIn)
	require.NoError(t, err)
	require.True(t, r.OK())
	require.Equal(t, len(r.Results), r.Count(report.Pass))
	require.GreaterOrEqual(t, len(r.Results), 15)
	require.Equal(t, "PyTorch 2.15.0", r.Suite)

	r, err = Check(context.Background(), fixtures.FS, harnesstest.Unmasked(), "seed/unmasked", "sdpa/causal", "seed/causal")
	require.NoError(t, err, "a wrong subject is a report")
	require.False(t, r.OK())
	var verdicts []report.Verdict
	for _, result := range r.Results {
		verdicts = append(verdicts, result.Verdict)
	}
	require.Equal(t, []report.Verdict{report.Pass, report.Skip, report.Fail}, verdicts)
}

func TestCheckCannotBeCarriedOut(t *testing.T) {
	_, err := Check(context.Background(), fstest.MapFS{}, builtIn)
	require.ErrorContains(t, err, "no case found")

	_, err = Check(context.Background(), fixtures.FS, builtIn, "seed/none", "seed/causal")
	require.ErrorContains(t, err, `case "seed/none": the suite has no such case`)

	s := builtIn
	s.Known = []Known{{Cases: "seed/none", Reason: "typing mistake"}}
	_, err = Check(context.Background(), fixtures.FS, s)
	require.ErrorContains(t, err, `known "seed/none": the suite has no such case`)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r, err := Check(ctx, fixtures.FS, builtIn)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, r.Results)
}

func TestCheckGoesOnAfterABrokenCase(t *testing.T) {
	suite := fstest.MapFS{"gone/case.json": {Data: []byte("{}")}, "lost/x.npy": {}}
	r, err := Check(context.Background(), suite, builtIn)
	require.ErrorContains(t, err, "gone/case.json: version: 0, want 1")
	require.ErrorContains(t, err, "lost/x.npy: belongs to no case")
	require.Len(t, r.Broken, 2)
	require.False(t, r.OK(), "nothing was judged")
}

func TestKnownFailures(t *testing.T) {
	s := harnesstest.Unmasked()
	s.Known = []Known{{Cases: "seed/causal", Reason: "mask not ported yet"}, {Cases: "seed/unmasked", Reason: "not looked at"}}
	r, err := Check(context.Background(), fixtures.FS, s, "seed/causal", "seed/unmasked")
	require.NoError(t, err)
	require.Equal(t, report.Known, r.Results[0].Verdict)
	require.Equal(t, "mask not ported yet", r.Results[0].Known)
	require.Equal(t, report.Fail, r.Results[1].Verdict, "a known failure that passes fails")
	require.Contains(t, r.Results[1].Findings[0], "it passes, but is listed as known to fail (not looked at)")

	s.MHA = func(attention.Config) (Module, error) { panic("not even that") }
	r, err = Check(context.Background(), fixtures.FS, s, "seed/causal")
	require.NoError(t, err)
	require.Equal(t, report.Known, r.Results[0].Verdict)
}

// An output may be right and the subject wrong.
func TestBadBehaviourFails(t *testing.T) {
	s := Subject{SDPA: func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		out, err := attention.SDPA(q, k, v, o)
		q.Data[0]++
		return out, err
	}}
	r := judged(t, s, readCase(t, "sdpa/causal"))
	require.Equal(t, report.Fail, r.Verdict)
	require.Equal(t, []string{"the subject changes its input query"}, r.Findings)
	require.True(t, r.Comparison.OK())
}

// TestRun runs itself as a process of its own for each subject, because a failure of Run is a
// failure of the test that calls it.
func TestRun(t *testing.T) {
	subjects := map[string]Subject{
		"right":    builtIn,
		"unmasked": harnesstest.Unmasked(),
		"nothing":  {Name: "nothing"},
		"panics": {SDPA: func(_, _, _ *attention.Tensor, _ attention.SDPAOptions) (*attention.Tensor, error) {
			panic(errors.New("kaboom"))
		}},
		"known": func() Subject {
			s := harnesstest.Unmasked()
			s.Known = []Known{{Cases: "seed/none", Reason: "typing mistake"}}
			return s
		}(),
	}
	const variable = "DIFFTEST_RUN_SUBJECT"
	if name := os.Getenv(variable); name != "" {
		if name == "broken" {
			Run(t, fstest.MapFS{"gone/case.json": {Data: []byte("{}")}}, builtIn)
			return
		}
		Run(t, fixtures.FS, subjects[name])
		return
	}
	for _, tc := range []struct {
		subject, pattern string
		ok               bool
		want, reject     []string
	}{
		{"right", "", true, []string{"--- PASS: TestRun/seed/causal"}, nil},
		{"right", "/mha/causal", true, []string{"--- PASS: TestRun/mha/causal-left-padding"}, []string{"TestRun/seed"}},
		{"unmasked", "", false, []string{
			"--- FAIL: TestRun/seed/causal", "    check_test.go:", "FAIL seed/causal  missing-feature: causal-missing", "xxxxxxxxxxx.  batch 0 to batch 3",
			"go test -run '^TestRun$/^seed$/^causal$'", "--- PASS: TestRun/seed/unmasked", "--- SKIP: TestRun/sdpa/causal",
		}, nil},
		{"nothing", "", false, []string{" cases were skipped: the subject does not offer", "--- SKIP: TestRun/seed/causal"}, []string{"--- PASS"}},
		{"panics", "/sdpa/causal$", false, []string{"--- FAIL: TestRun/sdpa/causal", "panic: kaboom"}, nil},
		{"known", "/seed/unmasked", false, []string{`known "seed/none": the suite has no such case`}, nil},
		{"broken", "", false, []string{"gone/case.json: version: 0, want 1"}, nil},
	} {
		t.Run(tc.subject+tc.pattern, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^TestRun$"+tc.pattern)
			cmd.Env = append(os.Environ(), variable+"="+tc.subject)
			out, err := cmd.CombinedOutput()
			require.Equal(t, tc.ok, err == nil, "%s", out)
			for _, want := range tc.want {
				require.Contains(t, string(out), want)
			}
			for _, reject := range tc.reject {
				require.NotContains(t, string(out), reject)
			}
		})
	}
}

// JSON is for programs: it can be read back, and holds no bare NaN.
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
