package selftest

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// oneFunction runs every part of the selftest on one case of scaled dot-product attention.
func oneFunction(j newJudge) Options {
	return Options{Seed: 1, Extent: Extent{Cases: 3, Pairs: 8, Share: 1}, Case: 2, newJudge: j}
}

// oneLayer makes single mistakes on one layer.
func oneLayer(j newJudge) Options {
	return Options{Seed: 1, Extent: Extent{Cases: 1}, Case: -1, newJudge: j}
}

// invented makes judges whose verdict is right and whose diagnosis is made up.
func invented(diagnosis func(id string) diagnose.Diagnosis) newJudge {
	return func(c *fixture.Case) (func(string) judgeFunc, error) {
		truth := judge.Right(c)
		return func(unknown string) judgeFunc {
			return func(_ context.Context, _ []int, got []float64) (report.Result, error) {
				r := report.Result{Verdict: report.Pass, Comparison: compare.Outputs(truth.Shape, got, truth)}
				if !r.Comparison.OK() {
					r.Verdict, r.Diagnosis = report.Fail, diagnosis(unknown)
				}
				return r, nil
			}
		}, nil
	}
}

// always makes judges that give every wrong output the same diagnosis.
func always(class diagnose.Class, ids ...string) newJudge {
	return invented(func(string) diagnose.Diagnosis { return named(class, ids...) })
}

// named returns a diagnosis with a class, and a match for each id.
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

// drawnTrial is a drawn case with its truth, on which nothing is planted yet.
func drawnTrial(seed uint64, n int) *trial {
	t := &trial{c: drawCase(seed, n)}
	t.problem = oracle.FromCase(t.c)
	t.truth = t.problem.Run().Expected()
	return t
}

// A diagnosis that names every output alike is right once, and wrong on all other outputs.
func TestOneNameForAll(t *testing.T) {
	r := run(t, oneFunction(always(diagnose.MissingFeature, "scale-missing")))
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
	require.Len(t, r.Missed(), 8)
}

// A diagnosis without any name is never wrong, and misses its bars.
func TestNoName(t *testing.T) {
	r := run(t, oneFunction(always(diagnose.Unclear)))
	for _, p := range r.parts() {
		require.Zero(t, p.Wrong+p.Right+p.Class+p.Misclassified, p.name)
		require.Equal(t, p.Distinguishable, p.Unexplained, p.name)
	}
	require.Len(t, r.Missed(), 3)
}

// A class that none of the mistakes belongs to is counted, and is no name.
func TestWrongClass(t *testing.T) {
	r := run(t, oneLayer(always(diagnose.WrongWeights)))
	require.Positive(t, r.Singles.Misclassified)
	require.Less(t, r.Singles.Misclassified, r.Singles.Unexplained)
	require.Zero(t, r.Singles.Wrong)
}

// An output that is called constant either is constant, or counts as unexplained.
func TestConstant(t *testing.T) {
	r := run(t, oneLayer(always(diagnose.Dead)))
	require.Equal(t, r.Singles.Class, r.Singles.Constant)
	require.Positive(t, r.Singles.Constant)
	require.Greater(t, r.Singles.Unexplained, r.Singles.Constant)
}

// A judge that passes wrong outputs is noticed.
func TestNotDetected(t *testing.T) {
	pass := func(*fixture.Case) (func(string) judgeFunc, error) {
		return func(string) judgeFunc {
			return func(context.Context, []int, []float64) (report.Result, error) {
				return report.Result{Verdict: report.Pass}, nil
			}
		}, nil
	}
	r := run(t, oneLayer(pass))
	require.Less(t, r.Detection.Detected, r.Detection.Planted)
	require.Contains(t, r.Missed()[len(r.Missed())-1], "were not refused")
}

// The same seed gives the same result, whichever case is done first, and another seed draws other
// cases.
func TestSeed(t *testing.T) {
	result := func() string {
		o := oneLayer(always(diagnose.Unclear, "scale-missing"))
		o.Seed = 5
		var text bytes.Buffer
		require.NoError(t, JSON(&text, run(t, o)))
		return text.String()
	}
	require.Equal(t, result(), result())
	require.NotEqual(t, drawCase(5, 0).Truth, drawCase(6, 0).Truth)
	one, other := &trial{seed: 5}, &trial{seed: 6}
	require.NotEqual(t, one.rand("a").Uint64(), other.rand("a").Uint64())
	require.NotEqual(t, one.rand("a").Uint64(), one.rand("b").Uint64())
}

// A case that runs alone gives the counts that it gives among others.
func TestOneCaseAlone(t *testing.T) {
	require.Equal(t, drawCase(7, 2), drawCase(7, 2))
	j := always(diagnose.Unclear, "scale-missing")
	both := run(t, Options{Seed: 7, Extent: Extent{Cases: 2}, Case: -1, newJudge: j})
	var sum Counts
	for n := range 2 {
		sum.add(run(t, Options{Seed: 7, Extent: Extent{Cases: 2, Share: 1000}, Case: n, newJudge: j}).Singles)
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

// The real diagnosis gives no wrong name on a few cases.
func TestNoWrongName(t *testing.T) {
	campaign.SkipShort(t)
	extent := Extent{Cases: 3, Searched: 1, Pairs: 1, Share: 60, Noises: 1}
	if campaign.Full() {
		extent = Extent{Cases: 6, Searched: 1, Pairs: 3, Share: 20, Noises: 2}
	}
	r := run(t, Options{Seed: DefaultSeed, Extent: extent, Case: -1})
	for _, p := range r.parts() {
		require.Zero(t, p.Wrong, p.name)
	}
	require.Positive(t, r.Pairs.Planted)
	require.Positive(t, r.LeftOut.Planted)
	require.GreaterOrEqual(t, r.Singles.Named(), singlesBar)
	require.Zero(t, r.Variants.FalseAlarms)
	require.Positive(t, r.Noise.Planted)
	require.Zero(t, r.Noise.Blamed, "%+v", r.Findings)
}
