package report_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/pattern"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

func written(t *testing.T, o report.TextOptions, r *report.Report) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, report.Text(o)(&b, r))
	return b.String()
}

// sample has a case of every verdict.
func sample() *report.Report {
	shape := []int{1, 2, 1}
	want := compare.Expected{Shape: shape, Value: []float64{1, 2}, Sigma: []float64{0.125, 0.125}}
	right := compare.Outputs(shape, []float64{1.125, 2}, want)
	return &report.Report{
		Subject: "mine",
		Suite:   "PyTorch 2.15.0",
		Results: []report.Result{
			{Case: "a/right", Purpose: "Right.", Verdict: report.Pass, Comparison: right, PyTorch: right},
			{Case: "a/skipped", Verdict: report.Skip},
			{Case: "a/known", Verdict: report.Known, Known: "not ported yet"},
			{
				Case: "a/crash", Purpose: "Crashes.", Verdict: report.Error, Err: "panic: boom\nstack",
				Rerun: "difftest --case a/crash",
			},
			{
				Case: "a/wrong", Purpose: "Wrong.", Verdict: report.Fail, Rerun: "difftest --case a/wrong",
				Comparison: compare.Outputs(shape, []float64{1, 12345678}, want), PyTorch: right,
				Findings: []string{"the subject changes its input query"},
				Diagnosis: diagnose.Diagnosis{
					Class: diagnose.Unclear, Reasons: []string{"no known mistake"},
					Structure: diagnose.Structure{
						Lead: []int{1}, Wrong: [][]bool{{false, true}}, Visible: [][]int{{0, 1}},
						Batches: 1, Rows: 2, Features: 1,
						WrongBatches: []int{0}, WrongRows: []int{1}, WrongFeatures: []int{0}, FirstRowExact: true,
					},
					Bands: []replay.Band{{
						Mistake: catalogue.Mistakes[0], Rel: replay.Range{Min: 1, Max: 2},
						Gain: replay.Range{Min: 3, Max: 3}, Cosine: replay.Range{Min: math.NaN(), Max: math.NaN()},
					}},
				},
			},
		},
		Broken: []report.Broken{{Case: "a/broken", Err: "a/broken/case.json: one\na/broken/case.json: two"}},
	}
}

func TestText(t *testing.T) {
	require.Equal(t, `mine against PyTorch 2.15.0, 5 cases

ok    a/right    max z  1.00
skip  a/skipped
known a/known    not ported yet
ERROR a/crash    panic: boom
FAIL  a/wrong    unclear

a/crash
  case      Crashes.
  subject   panic: boom
            stack
  rerun     difftest --case a/crash

a/wrong  unclear
  finding   the subject changes its input query
  why       no known mistake
  case      Wrong.
  numbers   rel 5.52e+06, gain 5.52e+06, cosine 0.894; 50.0 % of 2 elements
            wrong
            max z 9.88e+07 (at most 16; PyTorch 1), rms z 6.98e+07 (at most 2.6;
            PyTorch 0.71)
  worst     [0, 1, 0]    got 12345678       want 2              allowed ±2
  first     [0, 1, 0]    got 12345678       want 2              allowed ±2
  rows      -x  batch 0
            x outside the noise, . within it, - within it and sees no key
            first row exact in every batch
  where     rows 1 (of 2), batch elements 0 (of 1), features 0 (of 1)
  rerun     difftest --case a/wrong

BROKEN a/broken
  file      a/broken/case.json: one
            a/broken/case.json: two

Causes
  -  without a cause: a/wrong
  -  without an output: a/crash

1 passed, 2 failed, 1 known, 1 skipped, 1 broken
`, written(t, report.TextOptions{}, sample()))
}

func TestQuietTextHoldsWhatIsWrong(t *testing.T) {
	text := written(t, report.TextOptions{Verbosity: report.Quiet, Width: 200}, sample())
	for _, want := range []string{"FAIL  a/wrong", "ERROR a/crash", "BROKEN a/broken", "1 passed, 2 failed"} {
		require.Contains(t, text, want)
	}
	for _, reject := range []string{"against", "ok ", "skip ", "known a"} {
		require.NotContains(t, text, reject)
	}
}

// Of the skipped cases that follow one another, the first has a line. Another line counts the rest.
func TestSkippedCasesAreFolded(t *testing.T) {
	r := &report.Report{Selected: 6}
	for i, verdict := range []report.Verdict{"skip", "skip", "skip", "pass", "skip", "pass"} {
		r.Results = append(r.Results, report.Result{
			Case: fmt.Sprintf("case/%d", i), Verdict: verdict, Err: "not ported", Comparison: compare.Comparison{},
		})
	}
	lines := func(o report.TextOptions) (found []string) {
		var out strings.Builder
		require.NoError(t, report.Text(o)(&out, r))
		for line := range strings.Lines(out.String()) {
			if strings.HasPrefix(line, "skip") {
				found = append(found, strings.TrimSpace(line))
			}
		}
		return found
	}
	require.Equal(t, []string{
		"skip  case/0  not ported", "skip  ... and 2 more, to case/2 (-v lists them)", "skip  case/4  not ported",
	}, lines(report.TextOptions{}))
	require.Len(t, lines(report.TextOptions{Verbosity: report.Verbose}), 4)
	require.Empty(t, lines(report.TextOptions{Verbosity: report.Quiet}))
}

func TestVerboseTextSaysWhatCasesAreFor(t *testing.T) {
	text := written(t, report.TextOptions{Verbosity: report.Everything, Width: 200}, sample())
	require.Contains(t, text, "  case      Right.\n")
	const band = "  mistakes  weights-unit-normal      rel 1..2           gain 3              cosine none\n"
	require.Contains(t, text, band)
}

func TestColor(t *testing.T) {
	text := written(t, report.TextOptions{Color: true}, sample())
	require.Contains(t, text, "\x1b[32mok\x1b[0m    a/right")
	require.Contains(t, text, "\x1b[31mFAIL\x1b[0m  a/wrong")
	require.Contains(t, text, "\x1b[31m1 passed, 2 failed")
}

func TestBadBehaviourOfARightOutput(t *testing.T) {
	r := sample()
	r.Results = r.Results[:1]
	r.Broken = nil
	r.Results[0].Verdict, r.Results[0].Findings = report.Fail, []string{"answers differently"}
	r.Results[0].Diagnosis.Class = diagnose.Right
	text := written(t, report.TextOptions{Verbosity: report.Quiet, Width: 200}, r)
	require.Equal(t, "FAIL a/right  match\n  finding   answers differently\n  case      Right.\n\n"+
		"0 passed, 1 failed\n", text)
}

func TestOKNeedsAJudgedCase(t *testing.T) {
	r := &report.Report{}
	require.False(t, r.OK())
	r.Results = []report.Result{{Verdict: report.Skip}}
	require.False(t, r.OK())
	r.Results = append(r.Results, report.Result{Verdict: report.Known})
	require.True(t, r.OK())
	r.Results = append(r.Results, report.Result{Verdict: report.Error})
	require.False(t, r.OK())
}

func TestSuiteNamesEverySourceOnce(t *testing.T) {
	var r report.Report
	for _, source := range []string{"PyTorch 2.15.0", "a, b", "PyTorch 2.14.1", "PyTorch 2.15.0", "a, b"} {
		r.AddSource(source)
	}
	require.Equal(t, "PyTorch 2.15.0, a, b, PyTorch 2.14.1", r.Suite)
}

// Noise that is nowhere beyond the limit by itself has no place: no picture says that rows are
// exact.
func TestNoPictureWithoutAWrongElement(t *testing.T) {
	r := sample()
	r.Results, r.Broken = r.Results[4:], nil
	s := &r.Results[0].Diagnosis.Structure
	s.Wrong, s.WrongBatches, s.WrongRows, s.WrongFeatures = [][]bool{{false, false}}, nil, nil, nil
	text := written(t, report.TextOptions{Verbosity: report.Quiet, Width: 200}, r)
	require.NotContains(t, text, "exact")
	require.NotContains(t, text, "where")
}

func TestFirstAndLastRowExact(t *testing.T) {
	r := sample()
	r.Results[4].Diagnosis.Structure.LastRowExact = true
	require.Contains(t, written(t, report.TextOptions{Width: 200}, r), "first and last row exact in every batch")
	r.Results[4].Diagnosis.Structure.FirstRowExact = false
	require.Contains(t, written(t, report.TextOptions{Width: 200}, r), "            last row exact in every batch")
}

// What a live subject was caught at stands in the first line where it says more than the class, and
// in full below.
func TestProbesAreWritten(t *testing.T) {
	r := sample()
	r.Results, r.Broken = r.Results[4:], nil
	r.Results[0].Probes = []report.Probe{
		{ID: "load-no-effect", Title: "the load had no effect", Text: "other weights give the same output"},
		{ID: "future-token", Title: "later tokens", Text: "row 0 changes"},
	}
	text := written(t, report.TextOptions{Verbosity: report.Quiet, Width: 200}, r)
	require.Contains(t, text, "FAIL a/wrong  unclear\n")
	require.Contains(t, text, "  why       no known mistake\n  probe     other weights give the same output\n"+
		"            row 0 changes\n")

	d := &r.Results[0].Diagnosis
	r.Results[0].Proven = []report.Proof{report.LoadNoEffect}
	d.Matches = []replay.Match{{Mistakes: mistakes("causal-missing")}, {Mistakes: mistakes("causal-inverted")}}
	r.Results[0].RuledOut = []report.RuledOut{{ID: "causal-inverted", By: "a/right"}}
	text = written(t, report.TextOptions{Verbosity: report.Quiet, Width: 200}, r)
	require.Contains(t, text, "FAIL a/wrong  unclear: the load had no effect; causal-missing\n")
	require.Contains(t, text, "  not       causal-inverted, which a/right rules out\n")
	require.NotContains(t, text, mistakes("causal-inverted")[0].Fix)
}

func TestCausesAreWritten(t *testing.T) {
	cause := report.Cause{
		ID: "causal-missing", Title: "the causal mask missing", Fix: "Hide later keys.", Failures: []string{"a/wrong"},
	}
	for _, tc := range []struct {
		name   string
		change func(*report.Cause)
		want   []string
	}{
		{"alone", func(*report.Cause) {}, []string{
			"CAUSE causal-missing explains 1 of 2 failures; no case passes that could contradict it\n",
			"  what      the causal mask missing\n  failures  a/wrong\n  fix       Hide later keys.\n"}},
		{"all", func(c *report.Cause) { c.Failures, c.Passes = []string{"a/wrong", "a/second"}, 70 },
			[]string{
				"CAUSE causal-missing explains all 2 failures and none of the 70 passes contradicts it\n",
				"  failures  a/wrong, a/second\n",
			}},
		{"one pass", func(c *report.Cause) { c.Passes = 1 }, []string{" and the one pass does not contradict it\n"}},
		{"contradicted", func(c *report.Cause) { c.Passes, c.Contradictions = 3, []string{"a/right", "a/other"} },
			[]string{
				" explains 1 of 2 failures, but 2 of the 3 passes contradict it\n",
				"  passes    a/right, a/other: with it they would fail, so it is not made everywhere\n",
			}},
		{"not told apart", func(c *report.Cause) {
			c.Alternatives, c.RuledOut = []string{"b", "c"}, []report.RuledOut{{ID: "d", By: "a/right"}}
		}, []string{"  or        b, or c: no case tells them apart\n  not       d, which a/right rules out\n"}},
		{"where it is made", func(c *report.Cause) {
			c.Passes, c.Contradictions, c.Only = 9, []string{"a/right"}, "a window"
		}, []string{"  only      all of its failures have a window; no pass that contradicts it does\n"}},
		{"other failures", func(c *report.Cause) { c.Otherwise = []string{"a/second"} },
			[]string{"  otherwise a/second: they fail, and it does not explain how\n"}},
		{"without a fix", func(c *report.Cause) { c.Fix = "" }, []string{"  failures  a/wrong\n\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := sample()
			second := r.Results[4]
			second.Case = "a/second"
			c := cause
			tc.change(&c)
			r.Results, r.Causes = append(r.Results, second), []report.Cause{c}
			text := written(t, report.TextOptions{Verbosity: report.Quiet, Width: 200}, r)
			for _, want := range tc.want {
				require.Contains(t, text, want)
			}
		})
	}
}

// What failures share stands before causes that name no mistake, and behind the others.
func TestSharedFeaturesAreWritten(t *testing.T) {
	r := sample()
	r.Shared = []report.Shared{{
		Among: report.AllFailures, Cases: []string{"a/wrong", "a/second"}, Passes: 20,
		Features: []report.Feature{{ID: "window", Title: "a window"}, {ID: "sinks", Title: "sinks"}},
	}}
	const shared = "SHARED all 2 failures have a window; none of the 20 passes does\n" +
		"       all 2 failures have sinks; none of the 20 passes does\n  cases     a/wrong, a/second\n\n"
	symptom := report.Cause{ID: "batch", Symptom: true, Failures: []string{"a/wrong"}}
	for _, tc := range []struct {
		causes []report.Cause
		begins string
	}{
		{nil, shared + "Causes\n"},
		{[]report.Cause{symptom}, shared + "CAUSE batch "},
		{[]report.Cause{symptom, {ID: "causal-missing", Failures: []string{"a/wrong"}}}, "CAUSE batch "},
	} {
		r.Causes = tc.causes
		text := written(t, report.TextOptions{Verbosity: report.Quiet, Width: 200}, r)
		_, after, _ := strings.Cut(text, "two\n\n") // the broken files
		require.True(t, strings.HasPrefix(after, tc.begins), text)
		require.Contains(t, text, shared)
	}
}

// An explanation by several parts is named with the values of its numbers.
func TestJointExplanationsAreWritten(t *testing.T) {
	scale, ok := catalogue.NumberByID("scale")
	require.True(t, ok)
	r := sampleWithFits()
	r.Results[0].Diagnosis.Class = diagnose.WrongNumber
	r.Results[0].Joint = []report.Joint{{
		Numbers:  []replay.NumberMatch{{Number: scale, Value: 0.5, Right: 0.25}},
		Mistakes: catalogue.Mistakes[:1], Residual: 1e-7, MaxZ: 2,
	}}
	m := catalogue.Mistakes[0]
	text := written(t, report.TextOptions{Width: 200}, r)
	require.Contains(t, text, "FAIL a/wrong  wrong-number: scale 0.5 + "+m.ID+"\n", "no parameters beside them")
	require.Contains(t, text, "  fix       "+scale.Fix+"\n            "+m.Fix+"\n")
	j := r.Results[0].Joint[0]
	require.Equal(t, "scale+"+m.ID, j.ID())
	require.Equal(t, "the scale of the scores 0.5 instead of 0.25, and "+m.Title, j.Title())
	require.Equal(t, map[string]float64{"scale": 0.5}, j.Values())
}

// sampleWithFits has other parameters that explain the output, and its attention weights.
func sampleWithFits() *report.Report {
	r := sample()
	r.Results, r.Broken = r.Results[4:], nil
	d := &r.Results[0].Diagnosis
	d.Class, d.Stage = diagnose.WrongWeights, pattern.ScoreStage
	d.Fits = []fit.Fit{
		{
			Freed: "the query weight (q_proj.weight)", Parameters: []string{"q_proj.weight"},
			Holds: true, Narrowest: true, Residual: 3e-7, MaxZ: 2,
		},
		{Freed: "the output weight (o_proj.weight)", Parameters: []string{"o_proj.weight"}, Residual: 0.4, MaxZ: 1e6},
		{
			Freed: "the value weight (v_proj.weight)", Parameters: []string{"v_proj.weight"},
			Refused: "4 rows", Residual: math.Inf(1), MaxZ: math.Inf(1),
		},
	}
	d.Pattern = &pattern.Pattern{
		Heads: 1, PerBatch: 1, Queries: 2, Keys: 2,
		Recovered: []float64{1, 0, 0.25, 0.75}, Expected: []float64{1, 0, 0.5, 0.5},
		Uncertainty: []float64{0, 0, 1e-7, 1e-7}, Findings: []string{"a finding"},
	}
	return r
}

func TestTextDrawsRecoveredWeights(t *testing.T) {
	text := written(t, report.TextOptions{Width: 200}, sampleWithFits())
	require.Contains(t, text, "FAIL a/wrong  wrong-weights: another of the query weight (q_proj.weight)\n")
	require.Contains(t, text, `  weights   recovered  expected   batch 0 head 0
            |@ |       |@ |
            |-#|       |++|
            a column a key, a line a query: blank 0, then . : - = + * # % @, a ninth each
            a finding
`)
	require.NotContains(t, text, "freed")
	text = written(t, report.TextOptions{Verbosity: report.Everything, Width: 200}, sampleWithFits())
	require.Contains(t, text, `  freed     residual 3e-07, the output: the query weight (q_proj.weight)
            residual 0.4, not the output: the output weight (o_proj.weight)
            not asked: the value weight (v_proj.weight): 4 rows
`)
}

// On a terminal with colours a character shows two weights, one above the other.
func TestTextDrawsRecoveredWeightsInHalfBlocks(t *testing.T) {
	r := sampleWithFits()
	for palette, want := range map[report.Palette]string{
		report.TrueColors: "  weights   recovered  expected  batch 0 head 0\n" +
			"            \x1b[38;2;253;231;37;48;2;59;81;139m▀\x1b[38;2;68;1;84;48;2;92;200;99m▀\x1b[0m         " +
			"\x1b[38;2;253;231;37;48;2;33;144;141m▀\x1b[38;2;68;1;84;48;2;33;144;141m▀\x1b[0m\n" +
			"            a column a key, a row a query: dark is 0, yellow is 1, red is below\n            0 or above 1\n",
		report.Colors256: "\x1b[38;5;220;48;5;60m▀\x1b[38;5;53;48;5;77m▀\x1b[0m         ",
	} {
		o := report.TextOptions{Color: true, Palette: palette}
		require.Contains(t, written(t, o, r), want)
		o.Color = false
		require.Contains(t, written(t, o, r), "|-#|       |++|")
	}
	p := r.Results[0].Diagnosis.Pattern
	p.Queries, p.Recovered, p.Expected = 1, []float64{-1, 1.5}, []float64{1, 0}
	text := written(t, report.TextOptions{Color: true, Palette: report.TrueColors}, r)
	require.Contains(t, text, "            \x1b[38;2;214;39;40m▀\x1b[38;2;214;39;40m▀\x1b[0m ")
}

// Known mistakes say more than parameters that might be others.
func TestHeadlineNamesMistakesFirst(t *testing.T) {
	r := sampleWithFits()
	r.Results[0].Diagnosis.Matches = []replay.Match{{Mistakes: catalogue.Mistakes[:1]}}
	require.Contains(t, written(t, report.TextOptions{Width: 200}, r),
		"FAIL a/wrong  wrong-weights: "+catalogue.Mistakes[0].ID+"\n")
}
