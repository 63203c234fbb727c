package judge

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
)

// The output of a module may have any shape, a scalar among them, and be wrong in any way: it is
// judged by its measured noise and diagnosed by its structure alone.
func TestJudgeModule(t *testing.T) {
	nan := math.NaN()
	for _, tc := range []struct {
		name       string
		shape      []int
		truth, got []float64
		verdict    report.Verdict
		class      diagnose.Class
	}{
		{"right", []int{2, 2}, []float64{1, 2, 3, 4}, []float64{1.1, 2, 3, 3.9}, report.Pass, diagnose.Right},
		{"wrong", []int{2, 2}, []float64{1, 2, 3, 4}, []float64{1, 9, 3, -4}, report.Fail, diagnose.Unclear},
		{"zeros", []int{2, 2}, []float64{1, 2, 3, 4}, []float64{0, 0, 0, 0}, report.Fail, diagnose.Dead},
		{"NaN", []int{2, 2}, []float64{1, 2, 3, 4}, []float64{1, nan, 3, 4}, report.Fail, diagnose.NonFinite},
		{"a vector", []int{4}, []float64{1, 2, 3, 4}, []float64{1, 9, 3, -4}, report.Fail, diagnose.Unclear},
		{"a vector of NaN", []int{4}, []float64{1, 2, 3, 4}, []float64{nan, nan, nan, nan}, report.Fail, diagnose.NonFinite},
		{"a vector of zeros", []int{4}, []float64{1, 2, 3, 4}, []float64{0, 0, 0, 0}, report.Fail, diagnose.Dead},
		{"a scalar", []int{}, []float64{1}, []float64{1.1}, report.Pass, diagnose.Right},
		{"a wrong scalar", []int{}, []float64{1}, []float64{9}, report.Fail, diagnose.Unclear},
		{"a scalar of NaN", []int{}, []float64{1}, []float64{nan}, report.Fail, diagnose.NonFinite},
		{"four dimensions", []int{1, 2, 1, 2}, []float64{1, 2, 3, 4}, []float64{1, nan, 3, 4}, report.Fail, diagnose.NonFinite},
	} {
		t.Run(tc.name, func(t *testing.T) {
			output, err := attention.FromFloat64(tc.shape, tc.truth)
			require.NoError(t, err)
			sigma := make([]float64, len(tc.truth))
			for i := range sigma {
				sigma[i] = 0.1
			}
			r, err := Outputs(t.Context(), &fixture.Case{
				Name: "made/module", Op: fixture.Module, Output: output, Truth: tc.truth, Sigma: sigma,
			}, &oracle.Array{Shape: tc.shape, Value: tc.got}, nil)
			require.NoError(t, err)
			require.Equal(t, tc.verdict, r.Verdict)
			require.Equal(t, tc.class, r.Diagnosis.Class)
			require.True(t, r.Comparison.Measured)
			require.Equal(t, compare.Limits{Z: compare.MeasuredMaxZ, RMS: compare.MeasuredMaxRMSZ}, r.Comparison.Limits)
		})
	}
}
