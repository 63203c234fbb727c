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
	inPart := func(sites []int) []int {
		return slices.DeleteFunc(slices.Clone(sites), func(site int) bool { return site > part.Node })
	}
	for _, place := range []func(path string) string{everywhere, kindOf, layerOf, itself} {
		for _, h := range m.at(mistake, place) {
			if slices.Equal(inPart(h.sites), inPart(found.sites)) && m.gives(mistake, h.sites, later) {
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

// NamedAsInWhole returns mistakes that were found in a part of the module, under the names that the
// whole module's output would give them. A part that ends inside attention shows no mistake of
// attention, to which others give way. Zeros for every layer's parameter, made in one layer alone,
// are zeros for this layer's parameter: of two names for one change, the one without a place stays.
func (m *Module) NamedAsInWhole(found []Match) []Match {
	var named []Match
	for _, match := range found {
		for _, other := range m.instead(match) {
			i := slices.IndexFunc(named, func(n Match) bool { return m.sameChange(n, other) })
			switch {
			case i < 0:
				named = append(named, other)
			case other.Where == "":
				named[i] = other
			}
		}
	}
	return named
}

// sameChange reports whether two mistakes with the same id make one change at the same places.
func (m *Module) sameChange(a, b Match) bool {
	if a.ID() != b.ID() || !slices.Equal(a.sites, b.sites) {
		return false
	}
	x := m.outputOf(hypothesis{mistake: a.Mistakes[0], sites: a.sites})
	y := m.outputOf(hypothesis{mistake: b.Mistakes[0], sites: b.sites})
	return x != nil && y != nil && compare.Same(x.Data, y.Data)
}

// instead returns the mistakes of attention to which a mistake gives way, or else the mistake
// itself.
func (m *Module) instead(match Match) []Match {
	own := hypothesis{mistake: match.Mistakes[0], sites: match.sites}
	if len(match.Mistakes) > 1 || !slices.Contains(givingWay, own.mistake.Family) {
		return []Match{match}
	}
	own.output = m.outputOf(own)
	if own.output == nil || compare.Outputs(m.Truth.Shape, own.output.Data, m.Truth).OK() {
		return []Match{match}
	}
	for _, place := range []func(path string) string{everywhere, kindOf, layerOf, itself} {
		var others []Match
		for _, h := range m.hypotheses(place) {
			if !isOfAttention(h.mistake) {
				continue
			}
			if output := m.outputOf(h); output != nil && m.alike(output, own.output) {
				other := match
				other.Mistakes, other.Where, other.sites = []catalogue.Mistake{h.mistake}, h.where, h.sites
				others = append(others, other)
			}
		}
		if others != nil {
			return others
		}
	}
	return []Match{match}
}

// asksAbout reports whether other values are looked for in the parameters of a node.
func (m *Module) asksAbout(n graph.Node) bool {
	return m.within == "" || graph.Within(n.Module, m.within)
}

// Until returns the part of a module that ends with the output of a submodule, in float32. Mistakes
// look at the whole graph, and the places behind the part are left out. Other values are looked for
// in the submodule's own parameters.
func (m *Module) Until(o graph.ModuleOutput, truth compare.Expected) *Module {
	part := *m
	part.Truth, part.last, part.output, part.lower = truth, o.Node, m.graph.Nodes[o.Node].Name, false
	part.within = o.Path
	part.right = part.blank(part.values[part.output])
	return &part
}
