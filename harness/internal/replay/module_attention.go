package replay

import (
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/sites"
)

// attentionPlaces is the attention in a graph.
type attentionPlaces struct {
	sites []*sites.Site
	known []catalogue.Mistake // the mistakes that can be made there
	// modules maps the names of nodes with the output of attention to the paths of its modules.
	modules map[string]string
}

func (m *Module) attentionPlaces() attentionPlaces {
	found := sites.Find(m.view, m.values)
	modules := map[string]string{}
	for _, s := range found {
		modules[s.Output] = s.Module
	}
	return attentionPlaces{found, sites.Mistakes(m.graph, found), modules}
}

// pathOf returns the path of the module in which a mistake is made at a node. A mistake of
// attention changes the output projection's node, and is made in the module around it.
func (m *Module) pathOf(mistake catalogue.Mistake, node int) string {
	n := m.graph.Nodes[node]
	if module, ok := m.attention().modules[n.Name]; ok && isOfAttention(mistake) {
		return module
	}
	return n.Module
}

// isOfAttention reports whether a mistake is one of package catalogue, made at a site of attention.
func isOfAttention(m catalogue.Mistake) bool { return m.Plant != nil }

// kindOf returns a path with a star for its layer's number: "layers.*.mlp". Modules of one kind
// share their code in most ports.
func kindOf(path string) string {
	prefix, number, rest := graph.Layer(path)
	if number < 0 {
		return path
	}
	return strings.Trim(prefix+".*."+rest, ".")
}

// givingWay lists the families whose mistakes give way to a mistake of attention with the same
// output, which says more.
var givingWay = []catalogue.Family{catalogue.ModelAttention, catalogue.Linear, catalogue.Head}

// withoutDoubles returns hypotheses without the ones that are a mistake of attention under another
// name, or the same mistake again.
func (m *Module) withoutDoubles(all []hypothesis) []hypothesis {
	var attention []hypothesis
	for _, h := range all {
		if isOfAttention(h.mistake) {
			attention = append(attention, h)
		}
	}
	var before *hypothesis
	return slices.DeleteFunc(slices.Clone(all), func(h hypothesis) bool {
		again := before != nil && before.mistake.ID == h.mistake.ID && before.where == h.where && m.sameOutput(*before, h)
		before = &h
		return again || slices.Contains(givingWay, h.mistake.Family) &&
			slices.ContainsFunc(attention, func(a hypothesis) bool { return m.sameOutput(a, h) })
	})
}

// sameOutput reports whether two hypotheses give outputs that no program's rounding can tell apart.
// They differ a little where a table that was given is rounded, and the oracle computes the exact
// one.
func (m *Module) sameOutput(a, b hypothesis) bool {
	const same = 0.5                           // of the noise
	kept := a.output != nil && b.output != nil // the others are far
	return kept && math.Abs(a.rms-b.rms) <= same && inNoise(a.output.Data, b.output.Data, m.Truth.Sigma) <= same
}
