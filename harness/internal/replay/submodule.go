package replay

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
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

// Returned lists the other values that a submodule may return first.
func (m *Module) Returned(o graph.ModuleOutput) []graph.ModuleOutput { return at(o, o.Others) }

// Inside lists the values that are computed in a submodule.
func (m *Module) Inside(o graph.ModuleOutput) []graph.ModuleOutput {
	return at(o, m.view.Inside(o.Path))
}

func at(o graph.ModuleOutput, places []int) []graph.ModuleOutput {
	var all []graph.ModuleOutput
	for _, place := range places {
		all = append(all, graph.ModuleOutput{Path: o.Path, Class: o.Class, Node: place})
	}
	return all
}

// Later is the output of a submodule in a program under test, behind the part of the module in
// which a mistake was found.
type Later struct {
	Output graph.ModuleOutput
	Got    []float64
}

// Agreement is how a mistake that was found in a part of a module agrees with later values.
type Agreement int

// Agreements, the best last.
const (
	Disagrees  Agreement = iota
	OnlyInPart           // if the mistake is made at its places in this part alone
	Throughout           // if the mistake is made at more places, everywhere or in one layer
)

// Agrees reports how a mistake that was found in the part up to a submodule's output agrees with
// later values, up to 1 % of their size. It returns the mistake with the widest place that agrees.
func (m *Module) Agrees(found Match, part graph.ModuleOutput, later []Later) (Match, Agreement) {
	mistake := found.Mistakes[0]
	for _, place := range []func(path string) string{everywhere, kindOf, layerOf, itself} {
		for _, h := range m.at(mistake, place) {
			before := slices.DeleteFunc(slices.Clone(h.sites), func(site int) bool { return site > part.Node })
			if slices.Equal(before, found.sites) && m.gives(mistake, h.sites, later) {
				found.Where, found.sites = h.where, h.sites
				return found, Throughout
			}
		}
	}
	if m.gives(mistake, found.sites, later) {
		return found, OnlyInPart
	}
	return found, Disagrees
}

// gives reports whether a mistake at some places gives all of these values.
func (m *Module) gives(mistake catalogue.Mistake, places []int, later []Later) bool {
	const near = 0.01
	mistaken := m.view.Apply(mistake.Edit, places)
	for _, l := range later {
		name := m.graph.Nodes[l.Output.Node].Name
		output := m.outputOfGraph(mistaken.Until(name))
		got := m.blank(&graph.Tensor[float64]{Shape: m.values[name].Shape, Data: l.Got})
		if output == nil || !(compare.Residual(got.Data, output.Data) <= near) {
			return false
		}
	}
	return true
}

// Until returns the part of a module that ends with the output of a submodule, in float32. Mistakes
// look at the whole graph, and the places behind the part are left out.
func (m *Module) Until(o graph.ModuleOutput, truth compare.Expected) *Module {
	part := *m
	part.Truth, part.last, part.output, part.lower = truth, o.Node, m.graph.Nodes[o.Node].Name, false
	part.right = part.blank(part.values[part.output])
	return &part
}
