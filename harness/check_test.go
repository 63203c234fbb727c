package harness_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/variant"
)

func TestCheck(t *testing.T) {
	r, err := harness.Check(t.Context(), fixtures.FS, builtIn)
	require.NoError(t, err)
	require.True(t, r.OK())
	names, err := harness.CaseNames(fixtures.FS)
	require.NoError(t, err)
	for _, result := range r.Results { // a Subject is given no captured modules
		require.Equal(t, harnesstest.IsModule(result.Case), result.Verdict == harness.Skip, result.Case)
	}
	require.Equal(t, len(names), r.Count(harness.Pass)+r.Count(harness.Skip))
	require.Equal(t, "PyTorch 2.15.0", r.Suite)
	require.Empty(t, r.Causes)
}

// Outputs in a folder are judged in the arithmetic that is declared for them.
func TestDeclare(t *testing.T) {
	stored := harnesstest.ReadCase(t, "seed/causal").Output
	for i, v := range stored.Data {
		stored.Data[i] = variant.BFloat16(v)
	}
	outputs := fstest.MapFS{"seed/causal/output.npy": {Data: harnesstest.NPY(stored)}}
	r, err := harness.CheckFolder(t.Context(), fixtures.FS, outputs, harness.Select("seed/causal"))
	require.NoError(t, err)
	require.Equal(t, harness.Fail, r.Results[0].Verdict)
	declared := harness.Declare(harness.BFloat16)
	r, err = harness.CheckFolder(t.Context(), fixtures.FS, outputs, harness.Select("seed/causal"), declared)
	require.NoError(t, err)
	require.Equal(t, harness.Pass, r.Results[0].Verdict)
}

// A result says everything without any internal package.
func TestResult(t *testing.T) {
	r, err := harness.Check(t.Context(), fixtures.FS, unmasked, harness.Select("seed/causal", "sdpa/causal"))
	require.NoError(t, err)
	require.False(t, r.OK())
	skipped, wrong := r.Results[0], r.Results[1]
	require.Equal(t, harness.Skip, skipped.Verdict)
	require.Equal(t, "the subject does not offer this operation", skipped.Err)
	require.Zero(t, skipped.Numbers)
	require.Empty(t, skipped.Class)

	require.Equal(t, harness.Fail, wrong.Verdict)
	require.Equal(t, harness.MissingFeature, wrong.Class)
	require.NotEmpty(t, wrong.Reasons)
	require.False(t, wrong.Unexplained)
	require.Len(t, wrong.Explanations, 1)
	e := wrong.Explanations[0]
	require.Equal(t, []string{"causal-missing"}, e.IDs)
	require.Equal(t, "the causal mask missing", e.Title)
	require.Len(t, e.Fixes, 1)
	require.Less(t, e.Residual, 1e-6)
	require.Greater(t, e.Margin, 1e5)
	n := wrong.Numbers
	require.InDelta(t, 0.8, n.Rel, 0.01)
	require.Equal(t, []int{0, 0, 43}, n.WorstIndex)
	require.Greater(t, n.MaxZ, 1e6)
	require.Less(t, n.PyTorchMaxZ, 16.0)
	require.Contains(t, wrong.String(), "FAIL seed/causal  missing-feature: causal-missing")
	var found []string
	for _, f := range wrong.Findings {
		found = append(found, f.ID)
	}
	require.Contains(t, found, "future-token")
}

// A wrong number is an explanation, with its value.
func TestWrongNumber(t *testing.T) {
	capped := harness.Subject{MHA: func(c attention.Config) (harness.Module, error) {
		c.Softcap *= 2
		return attention.New(c)
	}}
	r, err := harness.Check(t.Context(), fixtures.FS, capped, harness.Select("decoder/softcap"))
	require.NoError(t, err)
	c, err := harness.ReadCase(fixtures.FS, "decoder/softcap")
	require.NoError(t, err)
	wrong := r.Results[0]
	require.Equal(t, harness.WrongNumber, wrong.Class)
	require.Len(t, wrong.Explanations, 1)
	e := wrong.Explanations[0]
	require.Equal(t, []string{"softcap"}, e.IDs)
	require.InEpsilon(t, 2*c.Config.Softcap, e.Values["softcap"], 1e-5)
	require.Equal(t, "softcap", r.Causes[0].ID)
}

func TestReportIsWritten(t *testing.T) {
	r, err := harness.Check(t.Context(), fixtures.FS, unmasked, harness.Select("seed/**"))
	require.NoError(t, err)
	var text, asJSON strings.Builder
	require.NoError(t, r.WriteText(&text))
	require.Contains(t, text.String(), "1 passed, 1 failed")
	require.NoError(t, r.WriteJSON(&asJSON))
	var got struct{ Summary struct{ Pass, Fail int } }
	require.NoError(t, json.Unmarshal([]byte(asJSON.String()), &got))
	require.Equal(t, 1, got.Summary.Pass)
	require.Equal(t, 1, got.Summary.Fail)
	var suites struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
	}
	var asJUnit, page, markdown strings.Builder
	require.NoError(t, r.WriteJUnit(&asJUnit))
	require.NoError(t, xml.Unmarshal([]byte(asJUnit.String()), &suites))
	require.Equal(t, []int{2, 1}, []int{suites.Tests, suites.Failures})
	require.NoError(t, r.WriteHTML(&page))
	require.Contains(t, page.String(), "<html")
	require.Contains(t, page.String(), "causal-missing")
	require.NoError(t, r.WriteMarkdown(&markdown))
	require.Contains(t, markdown.String(), "causal-missing")
}

func TestExpect(t *testing.T) {
	check := func(known ...harness.Known) *harness.Report {
		r, err := harness.Check(t.Context(), fixtures.FS, unmasked, harness.Select("seed/**"), harness.Expect(known...))
		require.NoError(t, err)
		return r
	}
	r := check(harness.Known{Pattern: "seed/causal", Cause: "causal-missing", Reason: "no mask yet"})
	require.True(t, r.OK())
	require.Equal(t, harness.Acknowledged, r.Results[0].Verdict)
	require.Equal(t, "no mask yet", r.Results[0].Reason)
	require.Empty(t, r.Causes, "a cause of expected failures alone is no news")

	r = check(harness.Known{Pattern: "seed/causal", Cause: "padding-ignored", Reason: "wrong"})
	require.Equal(t, harness.Fail, r.Results[0].Verdict, "it fails otherwise")
	r = check(harness.Known{Pattern: "seed/**", Reason: "not looked at"})
	require.Equal(t, harness.Fail, r.Results[1].Verdict, "an expected failure that passes fails")
}

func TestCheckCannotBeCarriedOut(t *testing.T) {
	_, err := harness.Check(t.Context(), fstest.MapFS{}, builtIn)
	require.ErrorContains(t, err, "no case found")
	_, err = harness.Check(t.Context(), fixtures.FS, builtIn, harness.Select("seed/none"))
	require.ErrorContains(t, err, `pattern "seed/none" selects no case`)
	unknown := harness.Known{Pattern: "seed/none", Reason: "r"}
	_, err = harness.Check(t.Context(), fixtures.FS, builtIn, harness.Expect(unknown))
	require.ErrorContains(t, err, `known "seed/none": the suite has no such case`)
	_, err = harness.Check(t.Context(), fixtures.FS, harness.Subject{Precision: "float8"})
	require.ErrorContains(t, err, `precision: "float8"`)
	_, err = harness.Check(t.Context(), fixtures.FS, harness.Command{Args: []string{"./no-such-program"}})
	require.ErrorContains(t, err, "no-such-program")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := harness.Check(ctx, fixtures.FS, builtIn)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, r.Results)

	r, err = harness.Check(t.Context(), fstest.MapFS{"gone/case.json": {Data: []byte("{}")}}, builtIn)
	require.ErrorContains(t, err, "gone/case.json")
	require.Len(t, r.Broken, 1)
	require.False(t, r.OK())
}

// A command that says nothing is an error of each case, and of none of the harness.
func TestCheckCommand(t *testing.T) {
	silent, err := exec.LookPath("true")
	if err != nil {
		t.Skip("no program true")
	}
	r, err := harness.Check(t.Context(), fixtures.FS, harness.Command{Args: []string{silent}},
		harness.Select("seed/**"))
	require.NoError(t, err)
	require.Equal(t, 2, r.Count(harness.Error))
	require.NotEmpty(t, r.Results[0].Err)
}

func TestJudge(t *testing.T) {
	c, err := harness.ReadCase(fixtures.FS, "seed/causal")
	require.NoError(t, err)
	r, err := harness.Judge(t.Context(), c, c.Output)
	require.NoError(t, err)
	require.Equal(t, harness.Pass, r.Verdict)
	require.Empty(t, r.Class)

	_, err = harness.Judge(t.Context(), harness.Case{}, c.Output)
	require.ErrorContains(t, err, "ReadCase makes one")
	_, err = harness.Judge(t.Context(), c, &attention.Tensor{Shape: []int{2}, Data: []float32{1}})
	require.ErrorContains(t, err, "seed/causal: output")
	nothing := c.Output.Clone()
	nothing.Data[0] = float32(math.NaN())
	r, err = harness.Judge(t.Context(), c, nothing)
	require.NoError(t, err)
	require.Equal(t, harness.NonFinite, r.Class)
	_, err = harness.ReadCase(os.DirFS(t.TempDir()), "seed/causal")
	require.Error(t, err)
}
