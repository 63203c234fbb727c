package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// Initial lists the usual initial values of a layer, which it keeps if no state dict reaches it.
// They tell the size of an output with weights that were never loaded. weights-unit-normal, which
// [Mistakes] has, is such a mistake, too.
var Initial = []Mistake{
	initial("weights left at the initial values of nn.Linear, never loaded",
		func(m *oracle.Linear, _ bool, r *rand.Rand) float64 { return uniform(1/math.Sqrt(float64(m.In)), r) },
		func(m *oracle.Linear, r *rand.Rand) float64 { return uniform(1/math.Sqrt(float64(m.In)), r) }),
	initial("weights left at the initial values of nn.MultiheadAttention, never loaded",
		func(m *oracle.Linear, isOutput bool, r *rand.Rand) float64 {
			if isOutput {
				return uniform(1/math.Sqrt(float64(m.In)), r)
			}
			// Query, key and value are drawn as one weight of three times the height.
			return uniform(math.Sqrt(6/float64(m.In+3*m.Out)), r)
		}, noBias),
	initial("weights left at Xavier-uniform values, never loaded",
		func(m *oracle.Linear, _ bool, r *rand.Rand) float64 {
			return uniform(math.Sqrt(6/float64(m.In+m.Out)), r)
		}, noBias),
	initial("weights left at Kaiming-uniform values, never loaded",
		func(m *oracle.Linear, _ bool, r *rand.Rand) float64 { return uniform(math.Sqrt(6/float64(m.In)), r) }, noBias),
	initial("weights left at N(0, 0.02²), never loaded",
		func(_ *oracle.Linear, _ bool, r *rand.Rand) float64 { return 0.02 * r.NormFloat64() }, noBias),
}

// initial is a layer whose weights and biases are drawn anew. Norms keep weights of 1, and other
// parameters are zero.
func initial(
	title string,
	weight func(m *oracle.Linear, isOutput bool, r *rand.Rand) float64,
	bias func(m *oracle.Linear, r *rand.Rand) float64,
) Mistake {
	return Mistake{Title: title, Family: Weights, Kind: Unloaded, Stage: Projection, Random: true,
		Plant: func(p *oracle.Problem, r *rand.Rand) bool {
			if p.Layer == nil {
				return false
			}
			changeParameters(p, setToZero)
			for _, m := range p.Layer.Projections() {
				for i := range m.Weight {
					m.Weight[i] = weight(m, m == &p.Layer.Output, r)
				}
				for i := range m.Bias {
					m.Bias[i] = bias(m, r)
				}
			}
			for _, n := range []*oracle.Norm{p.Layer.QueryNorm, p.Layer.KeyNorm} {
				if n != nil {
					n.Weight = slices.Repeat([]float64{1}, len(n.Weight))
				}
			}
			return true
		}}
}

func noBias(*oracle.Linear, *rand.Rand) float64 { return 0 }

// uniform draws from -bound to bound.
func uniform(bound float64, r *rand.Rand) float64 { return bound * (2*r.Float64() - 1) }
