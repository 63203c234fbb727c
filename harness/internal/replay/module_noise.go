package replay

import (
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
)

// InLowerPrecision returns the same module, whose truth has the noise of a lower precision.
// Mistakes are then judged by this noise: their own is only measured in float32.
func (m *Module) InLowerPrecision() *Module {
	other := *m
	other.lower = true
	return &other
}

// LowerPrecision reports whether the truth has the noise of a lower precision than float32.
func (m *Module) LowerPrecision() bool { return m.lower }

// expected returns the output of a changed graph with its noise.
func (m *Module) expected(g *graph.Graph, output *graph.Tensor[float64]) (compare.Expected, error) {
	sigma, err := m.noise(g, output)
	return compare.Expected{Shape: m.Truth.Shape, Value: output.Data, Sigma: sigma, Measured: true}, err
}

// noise returns the noise of a changed graph's output.
func (m *Module) noise(g *graph.Graph, output *graph.Tensor[float64]) ([]float64, error) {
	if m.lower {
		return m.Truth.Sigma, nil
	}
	return graph.Noise(g, m.given, output)
}
