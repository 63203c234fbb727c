package replay

import (
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
)

// InLowerPrecision returns the same module, whose truth has the noise of a lower precision.
// Mistakes are then judged by this noise: their own is only measured in float32.
func (m *Module) InLowerPrecision(sigma []float64) *Module {
	other := *m
	other.lower, other.Truth.Sigma = true, sigma
	return &other
}

// RoundingFactors returns the output if all products round their factors, with NaN in rows that do
// not matter.
func (m *Module) RoundingFactors(round func(x float64) float64) ([]float64, error) {
	output, err := graph.RunRounding(m.graph, m.given, narrow(round))
	if err != nil {
		return nil, err
	}
	values := make([]float64, len(output.Data))
	for i, x := range output.Data {
		values[i] = float64(x)
	}
	return m.Truth.Blank(values), nil
}

func narrow(round func(x float64) float64) func(x float32) float32 {
	return func(x float32) float32 { return float32(round(float64(x))) }
}

// NoiseOfFactors returns the noise that the output has if all products round their factors.
func (m *Module) NoiseOfFactors(round func(x float64) float64) ([]float64, error) {
	sigma, err := graph.NewJitter(m.graph, m.given, graph.Values[float64]{m.output: m.right}).
		RoundingFactors(narrow(round)).Sigma()
	return sigma[m.output], err
}

// LowerPrecision reports whether the truth has the noise of a lower precision than float32.
func (m *Module) LowerPrecision() bool { return m.lower }

// expected returns the output of a changed graph with its noise.
func (m *Module) expected(g *graph.Graph, output *graph.Tensor[float64]) (compare.Expected, error) {
	return m.noiseOf(g, output).expected()
}

// noise measures the noise of a changed graph's output, with two runs or with all of them.
type noise struct {
	module *Module
	graph  *graph.Graph
	output *graph.Tensor[float64]
	name   string
	jitter *graph.Jitter
}

func (m *Module) noiseOf(g *graph.Graph, output *graph.Tensor[float64]) *noise {
	n := &noise{module: m, graph: g, output: output, name: g.Output}
	if nudged := m.nudged(); nudged != nil {
		n.jitter = nudged.Jitter(g, output)
	} else {
		n.jitter = graph.NewJitter(g, m.given, graph.Values[float64]{g.Output: output})
	}
	return n
}

// expected returns the output with its noise.
func (n *noise) expected() (compare.Expected, error) {
	truth := n.module.Truth
	wrong := compare.Expected{Shape: truth.Shape, Value: n.output.Data, Sigma: truth.Sigma, Measured: true}
	if !n.module.lower {
		sigma, err := n.jitter.Sigma()
		if err != nil {
			return wrong, err
		}
		wrong.Sigma = sigma[n.name]
	}
	return wrong.WithPadding(truth.Padded), nil
}

// tooSmall reports whether the noise of two runs is far too small for the distance of the subject's
// output. The noise of all runs, which takes longer, is then too small as well.
func (n *noise) tooSmall(got []float64) bool {
	const far = 10 * compare.MeasuredMaxRMSZ
	if n.module.lower {
		return false // the noise is not measured
	}
	sigma, err := n.jitter.Rough()
	return err == nil && inNoise(got, n.output.Data, sigma[n.name]) > far
}
