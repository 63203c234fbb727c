package selftest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/variant"
)

// Maker names the code that computed a planted output.
type Maker string

// The makers. The first two share no arithmetic with the diagnosis. ByOracle is the diagnosis' own
// float64 result, with noise added as float32 rounding gives it.
const (
	ByPyTorch Maker = "pytorch" // PyTorch, with the mistake in Python
	ByVariant Maker = "variant" // float32 Go code, with the catalogue's mistake
	ByOracle  Maker = "oracle"
)

// plant is one mistake, or two, or a wrong number, made on a case. Its outputs are in the oracle's
// order of dimensions, (B, T, width).
type plant struct {
	mistakes []catalogue.Mistake
	number   *wrongNumber     // nil if mistakes were made
	exact    compare.Expected // the wrong output in float64, with its noise
	maxZ     float64          // distance of exact from the right output, in noise of the right one
	visible  bool             // exact is outside the noise of the right output
	got      []float64        // the wrong output in float32
	by       Maker
}

func (p plant) id() string {
	if p.number != nil {
		return fmt.Sprintf("%s %.6g", p.number.ID, p.number.value)
	}
	return catalogue.JoinIDs(p.mistakes)
}

// plant makes mistakes one after the other. It reports false if one of them cannot be made.
func (t *trial) plant(r *rand.Rand, mistakes ...catalogue.Mistake) (plant, bool) {
	wrong, ok := catalogue.Make(t.problem, r, mistakes...)
	if !ok {
		return plant{}, false
	}
	p := plant{mistakes: mistakes}
	p.run(t, wrong, r)
	return p, true
}

// run computes the wrong problem of a plant.
func (p *plant) run(t *trial, wrong *oracle.Problem, r *rand.Rand) {
	p.exact = wrong.Run().Expected()
	p.measure(t.truth)
	p.got, p.by = inFloat32(wrong, p.exact, r)
}

// measure sets the distance of the wrong output from the right one.
func (p *plant) measure(truth compare.Expected) {
	c := compare.Outputs(p.exact.Shape, p.exact.Value, truth)
	p.maxZ, p.visible = c.MaxZ, !c.OK()
}

// inFloat32 computes a problem in float32 or in its lower precision, by one of the correct variants
// if they can express it. Otherwise it adds typical rounding noise to the oracle's result.
func inFloat32(p *oracle.Problem, exact compare.Expected, r *rand.Rand) ([]float64, Maker) {
	low := p.Precision
	plain := p.Fork()
	plain.Precision = oracle.Precision{}
	if variant.Expresses(plain) && (low.Rounds() || low.IsFloat32()) {
		return variant.Correct[r.IntN(len(variant.Correct))].In(low).Run(plain), ByVariant
	}
	const typical = 0.6 // root mean square z of correct implementations
	got := make([]float64, len(exact.Value))
	for i, v := range exact.Value {
		got[i] = float64(float32(v + typical*exact.Sigma[i]*r.NormFloat64()))
		if math.IsNaN(exact.Sigma[i]) || math.IsInf(exact.Sigma[i], 0) {
			got[i] = float64(float32(v))
		}
		if low.Stores() {
			got[i] = low.Round(got[i])
		}
	}
	return got, ByOracle
}

// same reports whether two computations give the same output, within the noise of either.
func same(a, b compare.Expected) bool {
	return compare.Outputs(a.Shape, a.Value, b).OK() && compare.Outputs(b.Shape, b.Value, a).OK()
}

// withValues returns e with other values and the same noise.
func withValues(e compare.Expected, values []float64) compare.Expected {
	e.Value = values
	return e
}
