package replay

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
)

// Wiring says that a module takes another value than it should.
type Wiring struct {
	Was, Is        string // what computes the right value, and what computes the taken one
	Residual, MaxZ float64
}

// Rewired returns the wirings of a module that give an output: one of its inputs replaced by the
// output of another module that has been computed by then, or by an input of the model. The module
// is the one at path, and m ends with its output.
func (m *Module) Rewired(ctx context.Context, path string, got []float64) ([]Wiring, Cut) {
	sources := m.sources()
	var made []hypothesis
	var wirings []Wiring
	for _, taken := range m.takenFrom(path) {
		for _, other := range m.namesOf(sources) {
			if ctx.Err() != nil {
				return nil, "other inputs of the first wrong module"
			}
			if other == taken || !slices.Equal(m.values[other].Shape, m.values[taken].Shape) {
				continue
			}
			g := m.rewired(path, taken, other)
			h := m.against(got, hypothesis{graph: g}, m.outputOfGraph(g))
			if h.output != nil {
				made = append(made, h)
				wirings = append(wirings, Wiring{Was: m.called(sources, taken), Is: m.called(sources, other)})
			}
		}
	}
	var found []Wiring
	for i := range made {
		if c, ok := m.explainedBy(made[i], made, got); ok {
			wirings[i].Residual, wirings[i].MaxZ = c.Rel, c.MaxZ
			found = append(found, wirings[i])
		}
	}
	return found, ""
}

// sources maps the names of values that a module may take by mistake to what computes them.
func (m *Module) sources() map[string]string {
	found := map[string]string{}
	for name, role := range m.graph.Inputs {
		found[name] = "the input " + role
	}
	for _, o := range m.view.ModuleOutputs() {
		name := m.graph.Nodes[o.Node].Name
		// Of modules with one output the largest gives its name, but no list of layers.
		listOfLayers := graph.LayerPath(found[name]) != "" && graph.LayerPath(o.Path) == ""
		if o.Node < m.last && !listOfLayers {
			found[name] = o.Path
		}
	}
	return found
}

// namesOf lists the names of sources in the order of the graph, inputs first.
func (m *Module) namesOf(sources map[string]string) []string {
	var names []string
	for name := range m.graph.Inputs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, n := range m.graph.Nodes {
		if sources[n.Name] != "" {
			names = append(names, n.Name)
		}
	}
	return names
}

// called says what computes a value.
func (m *Module) called(sources map[string]string, name string) string {
	if source := sources[name]; source != "" {
		return source
	}
	n := m.view.Maker(graph.Value(name))
	return fmt.Sprintf("a value of %s (%s)", cmp.Or(n.Module, "the model"), n.Op)
}

// takenFrom lists the values from outside that the nodes of a module take, but no parameters and
// constants.
func (m *Module) takenFrom(path string) []string {
	var names []string
	for _, n := range m.graph.Nodes[:m.last+1] {
		if !graph.Within(n.Module, path) {
			continue
		}
		for _, o := range n.Operands {
			made := m.view.Maker(o)
			outside := made != nil && !graph.Within(made.Module, path) || m.view.Input(o) != ""
			if outside && !slices.Contains(names, o.Name) {
				names = append(names, o.Name)
			}
		}
	}
	return names
}

// rewired returns the graph in which the nodes of a module take one value instead of another.
func (m *Module) rewired(path, taken, other string) *graph.Graph {
	edited := *m.graph
	edited.Nodes = slices.Clone(m.graph.Nodes)
	for i, n := range edited.Nodes {
		if !graph.Within(n.Module, path) {
			continue
		}
		operands := slices.Clone(n.Operands)
		for j, o := range operands {
			if o.Name == taken {
				operands[j] = graph.Value(other)
			}
		}
		edited.Nodes[i] = n.With(operands...)
	}
	return edited.Until(m.output)
}

// explainedBy reports whether a hypothesis gives the output in its own noise, is among the nearest
// of all, and comes much nearer than the right output.
func (m *Module) explainedBy(h hypothesis, all []hypothesis, got []float64) (compare.Comparison, bool) {
	near := min(compare.MaxResidual, compare.Residual(got, m.Truth.Value)/compare.MinMargin)
	if h.isFar(leastOf(all)) || h.residual > near {
		return compare.Comparison{}, false
	}
	wrong, err := m.expected(h.graph, h.output)
	if err != nil {
		return compare.Comparison{}, false
	}
	c := compare.Outputs(wrong.Shape, got, wrong)
	return c, c.Explained()
}
