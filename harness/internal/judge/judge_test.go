package judge

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/random"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

func TestJudgeRefusesACaseItCannotReproduce(t *testing.T) {
	c := *harnesstest.ReadCase(t, "mha/causal")
	c.Truth = append([]float64{}, c.Truth...)
	c.Truth[7] += 1e-11
	_, err := Outputs(t.Context(), &c, subject.Float32, &oracle.Array{Shape: c.Output.Shape, Value: c.Truth}, nil)
	require.ErrorContains(t, err, "mha/causal: the oracle differs from PyTorch's float64 result")
	c.Truth[7] = math.NaN()
	_, err = Outputs(t.Context(), &c, subject.Float32, &oracle.Array{Shape: c.Output.Shape, Value: c.Truth}, nil)
	require.Error(t, err)

	blank := *harnesstest.ReadCase(t, "mha/causal-left-padding")
	blank.Layer.EmptyRow = attention.EmptyNaN
	_, err = New(t.Context(), &blank, oracle.Precision{})
	require.ErrorContains(t, err, "the oracle differs", "the oracle has NaN where PyTorch has zeros")
}

func TestJudgeRefusesAnOutputOfOtherLength(t *testing.T) {
	c := harnesstest.ReadCase(t, "mha/causal")
	for _, got := range [][]float64{c.Truth[:5], append([]float64{0}, c.Truth...), nil} {
		_, err := Outputs(t.Context(), c, subject.Float32, &oracle.Array{Shape: c.Output.Shape, Value: got}, nil)
		require.ErrorContains(t, err, "mha/causal: an output of shape (5, 9, 40) and")
	}
}

// The truth is PyTorch's float64 result, not the oracle's.
func TestJudgeComparesWithPyTorch(t *testing.T) {
	c := harnesstest.ReadCase(t, "mha/causal")
	r, err := Outputs(t.Context(), c, subject.Float32, &oracle.Array{Shape: c.Output.Shape, Value: c.Truth}, nil)
	require.NoError(t, err)
	require.Zero(t, r.Comparison.MaxZ)
	require.NotEqual(t, c.Truth, Right(c).Value, "the oracle rounds in another order")
}

// An output is compared once, in the case's order of dimensions (T, B, D). The worst element stands
// in that order. The structure of the error has batch elements and rows, whatever the order.
func TestJudgeInTheCasesOrder(t *testing.T) {
	c := harnesstest.ReadCase(t, "mha/sequence-first")
	rows, batches, width := c.Output.Shape[0], c.Output.Shape[1], c.Output.Shape[2]
	require.NotEqual(t, rows, batches)
	r, err := New(t.Context(), c, oracle.Precision{})
	require.NoError(t, err)

	out, ok := Planted(c, oracle.Precision{}, mistake(t, "causal-missing"))
	require.True(t, ok)
	result, err := r.Judge(t.Context(), c.Output.Shape, out.Value)
	require.NoError(t, err)
	require.Equal(t, "causal-missing", matchedIDs(result.Diagnosis))

	worst := []int{2, batches - 1, 3}
	out.Value[(worst[0]*batches+worst[1])*width+worst[2]] += 100
	result, err = r.Judge(t.Context(), c.Output.Shape, out.Value)
	require.NoError(t, err)
	require.Equal(t, worst, result.Comparison.Worst.Index)
	require.Equal(t, c.Output.Shape, result.Comparison.WantShape)

	structure := result.Diagnosis.Structure
	require.Equal(t, []int{batches}, structure.Lead)
	require.Equal(t, rows, structure.Rows)
	for b, wrong := range structure.Wrong {
		require.Len(t, wrong, rows)
		require.Equal(t, rows-1, slices.Index(wrong, false), "the last row of batch element %d sees all keys anyway", b)
	}
	require.True(t, structure.LastRowExact)

	one := slices.Clone(c.Truth)
	one[(worst[0]*batches+worst[1])*width+worst[2]] += 100
	result, err = r.Judge(t.Context(), c.Output.Shape, one)
	require.NoError(t, err)
	require.Equal(t, worst, result.Comparison.Worst.Index)
	require.Equal(t, []int{worst[1]}, result.Diagnosis.Structure.WrongBatches)
	require.Equal(t, []int{worst[0]}, result.Diagnosis.Structure.WrongRows)
	require.Equal(t, []int{worst[2]}, result.Diagnosis.Structure.WrongFeatures)

	// An output of another shape is read in the case's own order of dimensions.
	result, err = r.Judge(t.Context(), []int{rows * batches, width}, c.Truth)
	require.NoError(t, err)
	require.Equal(t, report.Fail, result.Verdict)
	require.Equal(t, []int{rows * batches, width}, result.Comparison.GotShape)
	require.Equal(t, diagnose.WrongLayout, result.Diagnosis.Class)
	require.Contains(t, result.Diagnosis.Reasons[1], "output.reshape(9, 5, 40) is the expected output")
}

func mistake(t *testing.T, id string) catalogue.Mistake {
	t.Helper()
	m, ok := catalogue.ByID(id)
	require.True(t, ok, id)
	return m
}

// An output that is slightly wrong everywhere is not taken for a permuted one.
func TestSmallErrorsAreNotReordered(t *testing.T) {
	if testing.Short() {
		t.Skip("every mistake on every case")
	}
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	failed := 0
	for n, name := range names {
		if n%4 != 3 || !campaign.Full() && n%16 != 3 {
			continue
		}
		c := harnesstest.ReadCase(t, name)
		got := append([]float64{}, c.Truth...)
		for i := range got {
			got[i] *= 1 + 2e-6
		}
		r, err := Outputs(t.Context(), c, subject.Float32, &oracle.Array{Shape: c.Output.Shape, Value: got}, nil)
		require.NoError(t, err)
		if r.Verdict == report.Fail {
			failed++
			require.NotContains(t, strings.Join(r.Diagnosis.Reasons, "\n"), "order", name)
		}
	}
	require.Positive(t, failed)
}

// The output of a module may have any shape, even none, and be wrong in any way. It is judged by
// its measured noise and diagnosed by its structure alone.
func TestJudgeModule(t *testing.T) {
	nan := math.NaN()
	four, matrix, vector, scalar := []float64{1, 2, 3, 4}, []int{2, 2}, []int{4}, []int{}
	for _, tc := range []struct {
		name       string
		shape      []int
		truth, got []float64
		verdict    report.Verdict
		class      diagnose.Class
	}{
		{"right", matrix, four, []float64{1.1, 2, 3, 3.9}, report.Pass, diagnose.Right},
		{"wrong", matrix, four, []float64{1, 9, 3, -4}, report.Fail, diagnose.Unclear},
		{"zeros", matrix, four, []float64{0, 0, 0, 0}, report.Fail, diagnose.Dead},
		{"NaN", matrix, four, []float64{1, nan, 3, 4}, report.Fail, diagnose.NonFinite},
		{"a vector", vector, four, []float64{1, 9, 3, -4}, report.Fail, diagnose.Unclear},
		{"a vector of NaN", vector, four, []float64{nan, nan, nan, nan}, report.Fail, diagnose.NonFinite},
		{"a vector of zeros", vector, four, []float64{0, 0, 0, 0}, report.Fail, diagnose.Dead},
		{"a scalar", scalar, []float64{1}, []float64{1.1}, report.Pass, diagnose.Right},
		{"a wrong scalar", scalar, []float64{1}, []float64{9}, report.Fail, diagnose.Unclear},
		{"a scalar of NaN", scalar, []float64{1}, []float64{nan}, report.Fail, diagnose.NonFinite},
		{"four dimensions", []int{1, 2, 1, 2}, four, []float64{1, nan, 3, 4}, report.Fail, diagnose.NonFinite},
	} {
		t.Run(tc.name, func(t *testing.T) {
			output, err := attention.FromFloat64(tc.shape, tc.truth)
			require.NoError(t, err)
			sigma := make([]float64, len(tc.truth))
			for i := range sigma {
				sigma[i] = 0.1
			}
			c := &fixture.Case{Name: "made/module", Op: fixture.Module, Output: output, Truth: tc.truth, Sigma: sigma}
			r, err := Outputs(t.Context(), c, subject.Float32, &oracle.Array{Shape: tc.shape, Value: tc.got}, nil)
			require.NoError(t, err)
			require.Equal(t, tc.verdict, r.Verdict)
			require.Equal(t, tc.class, r.Diagnosis.Class)
			require.True(t, r.Comparison.Measured)
			require.InDelta(t, compare.MeasuredMaxZ, r.Comparison.Limits.Z, 0)
			require.GreaterOrEqual(t, r.Comparison.Limits.RMS, float64(compare.MeasuredMaxRMSZ))
		})
	}
}

// Attention weights beside an output are judged as well, and can fail a right output.
func TestOutputsWithWeights(t *testing.T) {
	c := harnesstest.ReadCase(t, "mha/weights")
	right := &oracle.Array{Shape: c.Output.Shape, Value: c.Truth}
	weights := func(values []float64) *oracle.Array {
		return &oracle.Array{Shape: c.Weights.Shape, Value: values}
	}
	r, err := Outputs(t.Context(), c, subject.Float32, right, weights(c.WeightsTruth))
	require.NoError(t, err)
	require.Equal(t, report.Pass, r.Verdict)

	wrong := slices.Clone(c.WeightsTruth)
	wrong[5] += 0.25
	r, err = Outputs(t.Context(), c, subject.Float32, right, weights(wrong))
	require.NoError(t, err)
	require.Equal(t, report.Fail, r.Verdict)
	require.True(t, r.Right(), "the output is right")
	require.Len(t, r.Findings, 1)
	require.Contains(t, r.Findings[0], "the attention weights are outside the noise: max z ")

	flat := &oracle.Array{Shape: []int{len(wrong)}, Value: c.WeightsTruth}
	r, err = Outputs(t.Context(), c, subject.Float32, right, flat)
	require.NoError(t, err)
	require.Equal(t, report.Fail, r.Verdict)
	require.Contains(t, r.Findings[0], "the attention weights have shape (")

	r, err = Outputs(t.Context(), c, subject.Float32, right, nil)
	require.NoError(t, err)
	require.Equal(t, report.Pass, r.Verdict)
	_, err = Outputs(t.Context(), c, subject.Float32, right, weights(wrong[:5]))
	require.ErrorContains(t, err, "mha/weights: an output of shape")
}

// Sees puts mistakes with the same output into one class, and gives a mistake that the case does
// not see the class of the right output.
func TestClassOfSight(t *testing.T) {
	referee, err := New(t.Context(), harnesstest.ReadCase(t, "sdpa/decode"), oracle.Precision{})
	require.NoError(t, err)
	sight := referee.Sees()
	require.NotEmpty(t, sight.Alike)
	classes := map[string]int{}
	for place, class := range sight.Class() {
		classes[catalogue.Mistakes[place].ID] = class
	}
	want := map[string]int{}
	for place, m := range catalogue.Mistakes {
		want[m.ID] = place
	}
	for _, group := range sight.Alike {
		for _, m := range group {
			want[m.ID] = want[group[0].ID]
		}
	}
	for _, m := range sight.Absent {
		want[m.ID] = -1
	}
	for _, b := range sight.Blind {
		want[b.Mistake.ID] = -1
	}
	require.Equal(t, want, classes)
}

// A case that cannot see a mistake tells what it lacks.
func TestWhyAMistakeIsHidden(t *testing.T) {
	r := random.Draw{Rand: rand.New(rand.NewPCG(4, 4))}
	function := func(queries, keys int, o attention.SDPAOptions) *fixture.Case {
		return &fixture.Case{Op: fixture.SDPA, Options: o, Inputs: attention.Inputs{
			Query: r.Tensor(2, 2, queries, 4), Key: r.Tensor(2, 2, keys, 4), Value: r.Tensor(2, 2, keys, 4),
		}}
	}
	lowerRight := attention.SDPAOptions{Causality: attention.LowerRight}
	window := func(n int) attention.SDPAOptions { return attention.SDPAOptions{Window: n} }
	for _, tc := range []struct {
		name, mistake, why string
		c                  *fixture.Case
	}{
		{
			"decode", "causal-missing", "the output is the same: one query, and every key is in its past",
			function(1, 3, lowerRight),
		},
		{
			"one key", "scale-missing", "the output is the same: every query sees one key at most",
			function(3, 1, attention.SDPAOptions{}),
		},
		{"two keys", "window-missing", "the output is the same", function(2, 2, window(2))},
		{
			"a wide window", "window-one-wide",
			"the output is the same: a window as narrow as this hides the same keys", function(2, 2, window(2)),
		},
		{"one query, no cache", "window-missing", "the output is the same", function(1, 3, window(5))},
		{
			"one position", "inputs-time-reversed", "the output is the same: one position",
			function(1, 1, attention.SDPAOptions{}),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			problem := oracle.FromCase(tc.c)
			why := map[string]string{}
			for _, b := range diagnose.NewReference(problem, problem.Run().Expected()).Visibility().Blind {
				why[b.Mistake.ID] = b.Why
			}
			require.Equal(t, tc.why, why[tc.mistake])
		})
	}
}
