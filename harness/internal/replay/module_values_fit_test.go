package replay

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/npy"
)

// A step that leaves much of an error, and leaves it straight, falls short. A bend, a small rest,
// noise, and a direction that the step did not take may lead further. A bend leads further if the
// straight rest falls from step to step.
func TestFallsShort(t *testing.T) {
	const whole = 4 * 1e6
	straight := []float64{500, -500, 500, -500} // a quarter of the error
	for _, tc := range []struct {
		name     string
		straight []float64
		off      []float64
		furthest float64
		before   float64 // the straight rest in the step before
		whole    float64
		want     bool
	}{
		{"straight", straight, []float64{510, -500, 500, -490}, 1e6, 0, whole, true},
		{"bent", straight, []float64{900, -500, 500, -500}, 1e6, 0, whole, false},
		{"bent, where the rest stays", straight, []float64{900, -500, 500, -500}, 1e6, 1.05e6, whole, true},
		{"bent, where the rest falls", straight, []float64{900, -500, 500, -500}, 1e6, 1.5e6, whole, false},
		{"bent much, where the rest stays", straight, []float64{1300, -500, 500, -500}, 1e6, 1.05e6, whole, false},
		{"small rest", []float64{90, 90, -90, 90}, []float64{90, 90, -90, 90}, 32400, 0, whole, false},
		{"noise", []float64{1, -1, 1, -1}, []float64{1, -1, 1, -1}, 4, 0, 4, false},
		{"three times the noise", []float64{5, -5, 5, -5}, []float64{5, -5, 5, -5}, 100, 0, 1000, false},
		{"more than noise", []float64{7, -7, 7, -7}, []float64{7, -7, 7, -7}, 196, 0, 1000, true},
		{"another direction", straight, []float64{510, -500, 500, -490}, 4e5, 0, whole, false},
	} {
		f := &valueFit{off: tc.off, straight: tc.before}
		assert.Equal(t, tc.want, f.fallsShort(tc.straight, tc.furthest, tc.whole), tc.name)
		assert.Equal(t, product(tc.straight, tc.straight), f.straight, tc.name)
	}
}

// Steps that do not help end at once far from an explanation. Where half of the error is gone,
// exact columns get one more try.
func TestStepsThatDoNotHelp(t *testing.T) {
	// bump has the slope 1 at 0, and is nowhere far from 0.
	bump := func(x float64) float64 { return x * math.Exp(-1e6*x*x) }
	for name, tc := range map[string]struct {
		of    func(moved float64) float64 // 1 is the subject's output
		calls int
	}{
		"no step helps":   {bump, 1 + 5},
		"the first helps": {func(x float64) float64 { return min(x, 0.6) + bump(x-1) }, 1 + 1 + 1 + 5 + 2 + 5},
		"a little of it":  {func(x float64) float64 { return min(x, 0.2) + bump(x-1) }, 1 + 1 + 1 + 5},
	} {
		l := newLayers(t)
		l.input("x", make([]float32, 12), 12, 1)
		l.add("y", "add", graph.Attributes{}, []int{12, 1}, graph.Value("x"), l.parameter("w", 1))
		zero, err := npy.Float64Array([]int{1}, []float64{0})
		require.NoError(t, err)
		l.given["state_dict.w"] = zero
		calls := 0
		l.graph.Nodes[0].Computed = func(in []*graph.Tensor[float64], _ graph.Rounding) (*graph.Tensor[float64], []float64, error) {
			calls++
			y := tc.of(in[1].Data[0])
			return &graph.Tensor[float64]{Shape: []int{12, 1}, Data: slices.Repeat([]float64{y}, 12)}, nil, nil
		}
		m, err := NewModule(l.graph, l.given, compare.Expected{Shape: []int{12, 1}})
		require.NoError(t, err)
		m.Truth.Value, m.Truth.Sigma = m.right.Data, slices.Repeat([]float64{1e-6}, 12)
		q := valueSearchOf(t, m, slices.Repeat([]float64{1}, 12))
		f := q.newFit("w")
		f.off = q.lacking(f, f.now)
		calls = 0
		q.steps(f)
		assert.Equal(t, tc.calls, calls, name)
	}
}
