package replay

import (
	"slices"
	"sync"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/sites"
)

// ground is a graph on which a second mistake is made: the right graph, or the graph of a first
// mistake.
type ground struct {
	module *Module
	graph  *graph.Graph
	values graph.Values[float64]
	view   *graph.View

	inAttention bool // the first mistake changes what the problem of a site computes
	// places finds attention in the graph.
	places func() []*sites.Site
}

// groundOf returns the graph of a first mistake, nil if no program computes it.
func (m *Module) groundOf(first hypothesis) *ground {
	g := m.view.Apply(first.mistake.Edit, first.sites)
	values, err := graph.Rerun(m.graph, g, m.values)
	if err != nil {
		return nil
	}
	made := &ground{module: m, graph: g, values: values, view: graph.NewView(g, values)}
	for _, s := range m.attention().sites {
		span := s.Span(m.view)
		made.inAttention = made.inAttention ||
			slices.ContainsFunc(first.sites, func(site int) bool { return span[m.graph.Nodes[site].Name] })
	}
	made.places = sync.OnceValue(func() []*sites.Site { return sites.Find(made.view, values) })
	return made
}

// with returns the graph with a second mistake, nil if the first one does not leave the second the
// places that it has alone.
func (g *ground) with(second hypothesis) *graph.Graph {
	edit := second.mistake.Edit
	if isOfAttention(second.mistake) && g.inAttention {
		if edit = sites.Edit(g.places(), second.mistake); edit == nil {
			return nil
		}
	}
	at := g.view.Sites(edit)
	if !slices.Equal(namesAt(g.graph, at), namesAt(g.module.graph, second.sites)) {
		return nil
	}
	return g.view.Apply(edit, at).Until(g.module.output)
}

// namesAt returns the names of some nodes, sorted.
func namesAt(g *graph.Graph, places []int) []string {
	names := make([]string, len(places))
	for i, place := range places {
		names[i] = g.Nodes[place].Name
	}
	slices.Sort(names)
	return names
}

// output returns the output of a graph that was changed again, nil if no program gives one.
func (g *ground) output(again *graph.Graph) *graph.Tensor[float64] {
	values, err := graph.Outputs(g.graph, again, g.values, again.Output)
	if err != nil {
		return nil
	}
	return g.module.blank(values[again.Output])
}

// bothInAttention returns the right graph with two mistakes of attention, the one of the earlier
// stage first. It returns nil if they exclude each other at a site.
func (m *Module) bothInAttention(a, b hypothesis) *graph.Graph {
	mistakes := []catalogue.Mistake{a.mistake, b.mistake}
	if b.mistake.Stage < a.mistake.Stage {
		slices.Reverse(mistakes)
	}
	edit := sites.Edit(m.attention().sites, mistakes...)
	if edit == nil {
		return nil
	}
	return m.view.Apply(edit, m.sites(edit)).Until(m.output)
}
