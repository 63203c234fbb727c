package judge

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/random"
)

// Scores in the thousands move float64's own result by more than 1e-12. Such a case is judged, and
// a truth that is wrong by more than float64 rounds is refused.
func TestJudgeMeasuresAHotCaseByItsOwnRounding(t *testing.T) {
	hot := 0
	for seed := range uint64(8) {
		c := hotCase(seed, 3000)
		right := oracle.FromCase(c).Run()
		double, err := doubleSigma(t.Context(), oracle.FromCase(c))
		require.NoError(t, err)
		widest := 0
		for i, s := range double {
			if s > double[widest] {
				widest = i
			}
		}
		if 20*double[widest] < reproduction*slices.Max(right.Value) {
			continue
		}
		hot++
		for times, refused := range map[float64]bool{0: false, 20: false, 60: true} {
			c.Truth = append([]float64{}, right.Value...)
			c.Truth[widest] += times * double[widest]
			_, err := New(t.Context(), c, oracle.Precision{})
			require.Equal(t, refused, err != nil, "seed %d, %g times float64's rounding: %v", seed, times, err)
		}
	}
	require.Greater(t, hot, 3, "cases that float64 rounds by more than %g", reproduction)
}

// hotCase draws a case of the function whose scores have the given standard deviation.
func hotCase(seed uint64, deviation float64) *fixture.Case {
	r := random.Draw{Rand: rand.New(rand.NewPCG(seed, 0))}
	c := &fixture.Case{Name: "hot", Op: fixture.SDPA, Precision: fixture.Float32}
	shape := []int{1, 2, 150, 24}
	c.Inputs.Query, c.Inputs.Key, c.Inputs.Value = r.Tensor(shape...), r.Tensor(shape...), r.Tensor(shape...)
	c.Options.Scale = deviation / math.Sqrt(24)
	c.Output = attention.NewTensor(1, 2, 150, 24)
	return c
}
