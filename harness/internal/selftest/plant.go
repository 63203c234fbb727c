package selftest

import (
	"math"
	"math/rand/v2"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/variant"
)

// Maker is what computed a planted output.
type Maker string

// The makers. The first two share no arithmetic with the diagnosis. The third is its own float64 result,
// with noise as float32 rounding gives it.
const (
	ByPyTorch Maker = "pytorch" // the mistake, too, was written by other hands
	ByVariant Maker = "variant" // float32 Go, which is told of the mistake by the catalogue
	ByOracle  Maker = "oracle"
)

// plant is one mistake, or two, made on a case.
type plant struct {
	mistakes []catalogue.Mistake
	exact    compare.Expected // in float64, in the order (B, T, width) of the oracle
	maxZ     float64          // how far from the right output that is, in its noise
	visible  bool             // whether it is outside the noise
	got      []float64        // in float32, by
	by       Maker
}

func (p plant) id() string { return joined(p.mistakes) }

func joined(mistakes []catalogue.Mistake) string {
	var ids []string
	for _, m := range mistakes {
		ids = append(ids, m.ID)
	}
	return strings.Join(ids, "+")
}

// planted makes mistakes one after the other. It says false where one of them cannot be made.
func (t *trial) planted(r *rand.Rand, mistakes ...catalogue.Mistake) (plant, bool) {
	wrong, ok := changed(t.problem, r, mistakes...)
	if !ok {
		return plant{}, false
	}
	p := plant{mistakes: mistakes, exact: wrong.Run().Expected()}
	p.measure(t.truth)
	p.got, p.by = rounded(wrong, p.exact, r)
	return p, true
}

func changed(problem *oracle.Problem, r *rand.Rand, mistakes ...catalogue.Mistake) (*oracle.Problem, bool) {
	wrong := problem.Clone()
	for _, m := range mistakes {
		if !m.Plant(wrong, r) {
			return nil, false
		}
	}
	return wrong, true
}

// measure says how far from the truth the mistake leads.
func (p *plant) measure(truth compare.Expected) {
	c := compare.Outputs(p.exact.Shape, p.exact.Value, truth)
	p.maxZ, p.visible = c.MaxZ, !c.OK()
}

// rounded computes a problem in float32, by one of the correct variants where they can.
func rounded(p *oracle.Problem, exact compare.Expected, r *rand.Rand) ([]float64, Maker) {
	if variant.Expresses(p) {
		return variant.Correct[r.IntN(len(variant.Correct))].Run(p), ByVariant
	}
	const typical = 0.6 // root mean square z of correct implementations
	got := make([]float64, len(exact.Value))
	for i, v := range exact.Value {
		got[i] = float64(float32(v + typical*exact.Sigma[i]*r.NormFloat64()))
		if math.IsNaN(exact.Sigma[i]) || math.IsInf(exact.Sigma[i], 0) {
			got[i] = float64(float32(v))
		}
	}
	return got, ByOracle
}

// same says whether two computations give one output, to rounding in either of them.
func same(a, b compare.Expected) bool {
	return compare.Outputs(a.Shape, a.Value, b).OK() && compare.Outputs(b.Shape, b.Value, a).OK()
}

func withValues(e compare.Expected, values []float64) compare.Expected {
	e.Value = values
	return e
}

// inOrder brings what the oracle computed into the order of the case.
func inOrder(c *fixture.Case, e compare.Expected) oracle.Array {
	a := oracle.Array{Shape: e.Shape, Value: e.Value}
	if c.Op == fixture.SDPA {
		return a
	}
	return oracle.FromBatchFirst(c.Layer.InputLayout, a)
}
