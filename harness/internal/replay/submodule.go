package replay

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
)

// Submodules lists the outputs of the modules inside a module, in the order of their computation.
func (m *Module) Submodules() []graph.ModuleOutput { return m.view.ModuleOutputs() }

// Expected returns the truth of some submodules' outputs, with the noise that the whole computation
// up to them has.
func (m *Module) Expected(outputs []graph.ModuleOutput) ([]compare.Expected, error) {
	truths := graph.Values[float64]{}
	for _, o := range outputs {
		name := m.graph.Nodes[o.Node].Name
		truths[name] = m.blank(m.values[name])
	}
	sigma, err := graph.NoiseOf(m.graph, m.given, truths)
	if err != nil {
		return nil, err
	}
	var all []compare.Expected
	for _, o := range outputs {
		name := m.graph.Nodes[o.Node].Name
		truth := truths[name]
		expected := compare.Expected{Shape: truth.Shape, Value: truth.Data, Sigma: sigma[name], Measured: true}
		all = append(all, expected.WithPadding(m.padded(truth.Shape)))
	}
	return all, nil
}

// Agrees reports whether a mistake that was found in a part of the module also gives the output of
// a submodule behind this part, up to 1 % of its size. It may be made behind the part, too.
func (m *Module) Agrees(found Match, o graph.ModuleOutput, got []float64) bool {
	const near = 0.01
	mistake := found.Mistakes[0]
	places := [][]int{found.sites}
	for _, place := range []func(path string) string{everywhere, kindOf, layerOf, itself} {
		for _, h := range m.at(mistake, place) {
			if h.where == found.Where {
				places = append(places, h.sites)
			}
		}
	}
	name := m.graph.Nodes[o.Node].Name
	got = m.blank(&graph.Tensor[float64]{Shape: m.values[name].Shape, Data: got}).Data
	return slices.ContainsFunc(places, func(sites []int) bool {
		output := m.outputOfGraph(m.view.Apply(mistake.Edit, sites).Until(name))
		return output != nil && compare.Residual(got, output.Data) <= near
	})
}

// Until returns the part of a module that ends with the output of a submodule, in float32. Mistakes
// look at the whole graph, and the places behind the part are left out.
func (m *Module) Until(o graph.ModuleOutput, truth compare.Expected) *Module {
	part := *m
	part.Truth, part.last, part.output, part.lower = truth, o.Node, m.graph.Nodes[o.Node].Name, false
	part.right = part.blank(part.values[part.output])
	return &part
}
