package selftest

import (
	"bytes"
	"context"
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

// function is one case, of scaled dot-product attention, on which everything is done.
func function(judge newJudge) Options {
	return Options{Seed: 1, Extent: Extent{Cases: 3, Pairs: 3, Share: 1}, Case: 2, judge: judge}
}

// layer is one case, on which single mistakes are made.
func layer(judge newJudge) Options {
	return Options{Seed: 1, Extent: Extent{Cases: 1}, Case: -1, judge: judge}
}

// liar gives a judge whose verdict is right and whose diagnosis is made up.
func liar(diagnosis func(id string) diagnose.Diagnosis) newJudge {
	return func(c *fixture.Case) (func(string) judgement, error) {
		truth := oracle.FromCase(c).Run().Expected()
		truth.Value, truth.Sigma = inOrder(c, truth).Value, inOrder(c, withValues(truth, truth.Sigma)).Value
		return func(unknown string) judgement {
			return func(_ context.Context, shape []int, got []float64) (report.Result, error) {
				r := report.Result{Verdict: report.Pass, Comparison: compare.Outputs(c.Output.Shape, got, compare.Expected{Shape: c.Output.Shape, Value: truth.Value, Sigma: truth.Sigma})}
				if !r.Comparison.OK() {
					r.Verdict, r.Diagnosis = report.Fail, diagnosis(unknown)
				}
				return r, nil
			}
		}, nil
	}
}

func named(class diagnose.Class, ids ...string) diagnose.Diagnosis {
	d := diagnose.Diagnosis{Class: class}
	for _, id := range ids {
		m, ok := catalogue.ByID(id)
		if !ok {
			panic(id)
		}
		d.Matches = append(d.Matches, replay.Match{Mistakes: []catalogue.Mistake{m}})
	}
	return d
}

func run(t *testing.T, o Options) *Result {
	t.Helper()
	r, err := Run(t.Context(), o)
	require.NoError(t, err)
	return r
}

// A diagnosis that says the same of everything is right once, and wrong of all that is another output.
func TestOneNameForAll(t *testing.T) {
	r := run(t, function(liar(func(string) diagnose.Diagnosis { return named(diagnose.MissingFeature, "scale-missing") })))
	require.Equal(t, 1, r.Singles.Right)
	require.Greater(t, r.Singles.Wrong, 30)
	require.Equal(t, r.Singles.Distinguishable, r.Singles.Right+r.Singles.Class+r.Singles.Wrong)
	require.Equal(t, r.LeftOut.Distinguishable, r.LeftOut.Right+r.LeftOut.Class+r.LeftOut.Wrong)
	require.Positive(t, r.LeftOut.Wrong)
	require.Positive(t, r.Random.Wrong)
	require.Positive(t, r.Pairs.Wrong)
	for _, f := range r.Findings {
		require.Equal(t, wrongName, f.What)
		require.Equal(t, "scale-missing", f.Said)
		require.NotEqual(t, "scale-missing", f.Planted)
	}
	require.Len(t, r.Missed(), 6)
}

// A diagnosis that says nothing is never wrong, and misses its bars.
func TestNoName(t *testing.T) {
	r := run(t, function(liar(func(string) diagnose.Diagnosis { return named(diagnose.Unclear) })))
	for _, p := range r.parts() {
		require.Zero(t, p.Wrong+p.Right+p.Class+p.Misclassified, p.name)
		require.Equal(t, p.Distinguishable, p.Unexplained, p.name)
	}
	require.Len(t, r.Missed(), 2)
}

// A class that none of the mistakes is in is counted, and is no name.
func TestWrongClass(t *testing.T) {
	r := run(t, layer(liar(func(string) diagnose.Diagnosis { return named(diagnose.WrongWeights) })))
	require.Positive(t, r.Singles.Misclassified)
	require.Less(t, r.Singles.Misclassified, r.Singles.Unexplained)
	require.Zero(t, r.Singles.Wrong)
}

// What is said to be constant is so, or has no name.
func TestConstant(t *testing.T) {
	r := run(t, layer(liar(func(string) diagnose.Diagnosis { return named(diagnose.Dead) })))
	require.Equal(t, r.Singles.Class, r.Singles.Constant)
	require.Positive(t, r.Singles.Constant)
	require.Greater(t, r.Singles.Unexplained, r.Singles.Constant)
}

// A judge that refuses what is right, or passes what is wrong, is found out.
func TestDetection(t *testing.T) {
	pass := func(*fixture.Case) (func(string) judgement, error) {
		return func(string) judgement {
			return func(context.Context, []int, []float64) (report.Result, error) {
				return report.Result{Verdict: report.Pass}, nil
			}
		}, nil
	}
	r := run(t, layer(pass))
	require.Less(t, r.Detection.Detected, r.Detection.Planted)
	require.Contains(t, r.Missed()[len(r.Missed())-1], "were not refused")

	tr := &trial{c: drawCase(1, 0)}
	tr.problem = oracle.FromCase(tr.c)
	tr.truth = tr.problem.Run().Expected()
	off := make([]float64, len(tr.truth.Value))
	for i, v := range tr.truth.Value {
		off[i] = v + 17*tr.truth.Sigma[i]
	}
	tr.judgeVariant("off", 1, off, tr.truth)
	tr.judgeVariant("right", 1, tr.truth.Value, tr.truth)
	require.Equal(t, Variants{Run: 2, FalseAlarms: 1}, tr.found.Variants)
}

// The outcomes of one planted output, by what it is called.
func TestOutcome(t *testing.T) {
	tr := &trial{c: drawCase(1, 1)}
	tr.problem = oracle.FromCase(tr.c)
	tr.truth = tr.problem.Run().Expected()
	m, _ := catalogue.ByID("mask-multiplied")
	p, ok := tr.planted(tr.rand("test"), m)
	require.True(t, ok)
	for _, tc := range []struct {
		said []string
		want outcome
	}{
		{nil, unexplained},
		{[]string{"mask-multiplied"}, right},
		{[]string{"mask-value-near-zero", "mask-multiplied"}, equivalent},
		{[]string{"mask-value-near-zero"}, impostor},
		{[]string{"mask-multiplied", "scale-missing"}, wrong},
		{[]string{"weights-random"}, wrong},
		{[]string{"window-missing"}, wrong}, // it cannot even be made
	} {
		require.Equal(t, tc.want, tr.outcome(p, report.Result{Diagnosis: named(diagnose.Unclear, tc.said...)}), "%v", tc.said)
	}
}

// A pair whose second mistake changes nothing is that of the first alone.
func TestIdentifiable(t *testing.T) {
	tr := &trial{c: drawCase(1, 1)}
	tr.problem = oracle.FromCase(tr.c)
	tr.truth = tr.problem.Run().Expected()
	tr.plantAll()
	plantPair := func(a, b string) plant {
		one, _ := catalogue.ByID(a)
		two, _ := catalogue.ByID(b)
		p, ok := tr.planted(tr.rand("test"), one, two)
		require.True(t, ok)
		return p
	}
	hidden, own := plantPair("output-weight-zero", "scale-missing"), plantPair("value-weight-transposed", "scale-missing")
	identifiable, err := tr.identifiable(t.Context(), []plant{hidden, own}, nil)
	require.NoError(t, err)
	require.Equal(t, []bool{false, true}, identifiable)
}

// The same seed gives the same result, and another seed another.
func TestSeed(t *testing.T) {
	result := func(seed uint64) string {
		o := layer(liar(func(string) diagnose.Diagnosis { return named(diagnose.Unclear, "scale-missing") }))
		o.Seed, o.Extent.Cases = seed, 2
		var text bytes.Buffer
		require.NoError(t, JSON(&text, run(t, o)))
		return text.String()
	}
	first := result(5)
	require.Equal(t, first, result(5))
	require.NotEqual(t, first, result(6))
}

// A case alone is what it is among others.
func TestOneCaseAlone(t *testing.T) {
	require.Equal(t, drawCase(7, 2), drawCase(7, 2))
	names := func(string) diagnose.Diagnosis { return named(diagnose.Unclear, "scale-missing") }
	both := run(t, Options{Seed: 7, Extent: Extent{Cases: 2}, Case: -1, judge: liar(names)})
	var sum Counts
	for n := range 2 {
		sum.add(run(t, Options{Seed: 7, Extent: Extent{Cases: 2, Share: 1000}, Case: n, judge: liar(names)}).Singles)
	}
	require.Equal(t, both.Singles, sum)
	_, err := Run(t.Context(), Options{Extent: Extent{Cases: 1}, Case: 1})
	require.EqualError(t, err, "case 1: there are 1, from 0")
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Run(ctx, Options{Extent: Extent{Cases: 1}, Case: -1})
	require.ErrorIs(t, err, context.Canceled)
}

// The diagnosis as it is gives no wrong name on a few cases.
func TestNoWrongName(t *testing.T) {
	if testing.Short() {
		t.Skip("pairs take minutes with the race detector")
	}
	r := run(t, Options{Seed: DefaultSeed, Extent: Extent{Cases: 6, Searched: 1, Pairs: 3, Share: 20}, Case: -1})
	for _, p := range r.parts() {
		require.Zero(t, p.Wrong, p.name)
	}
	require.GreaterOrEqual(t, r.Singles.Named(), singlesBar)
	require.Zero(t, r.Variants.FalseAlarms)
}

// What programs and people read.
func TestFormats(t *testing.T) {
	mistake := func(id string) catalogue.Mistake { m, _ := catalogue.ByID(id); return m }
	r := &Result{
		Seed: 3, Cases: 2, Singles: Counts{Planted: 10, Distinguishable: 9, Right: 6, Class: 2, Unexplained: 1, Constant: 1},
		Pairs: Counts{Planted: 4, Distinguishable: 3, Right: 2, Wrong: 1}, LeftOut: Counts{Planted: 5, Distinguishable: 5, Class: 1, Unexplained: 4, Impostors: 1, Misclassified: 1},
		Independent: Counts{Planted: 1, Distinguishable: 1, Right: 1}, Variants: Variants{Run: 24, FalseAlarms: 1}, Detection: Detection{Planted: 9, Detected: 9},
		Mistakes: []Row{
			{mistake("weights-zero"), ByPyTorch, Counts{Planted: 1, Distinguishable: 1, Right: 1}},
			{mistake("weights-zero"), ByVariant, Counts{Planted: 6, Distinguishable: 6, Right: 6}},
			{mistake("softmax-missing"), ByOracle, Counts{Planted: 4, Distinguishable: 3, Class: 2, Unexplained: 1}},
		},
		Findings: []Finding{
			{wrongName, pairs, "1", "causal-missing+scale-twice", "padding-ignored"},
			{noName, singles, "0", "softmax-missing", "no name, unclear"},
		},
	}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"result.json": func(b *bytes.Buffer) error { return JSON(b, r) },
		"result.txt":  func(b *bytes.Buffer) error { return Text(b, r) },
	} {
		var got bytes.Buffer
		require.NoError(t, write(&got))
		file := "testdata/" + name
		if *update {
			require.NoError(t, os.MkdirAll("testdata", 0o755))
			require.NoError(t, os.WriteFile(file, got.Bytes(), 0o644))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(want), got.String(), name)
	}
}
