// Package edits holds the known ways to get a whole model wrong. Each is a change to the graph of a
// PyTorch module. Package catalogue holds the mistakes inside attention.
package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// Mistakes lists all mistakes, by family. Each applies to every place of its kind at once, because
// ports share code between layers.
var Mistakes = byFamily(slices.Concat(
	norms,
	normWiring,
	normStatistics,
	activations,
	mlps,
	gates,
	residuals,
	residualWiring,
	embeddings,
	positionTables,
	lmHeads,
	outputs,
	attention,
	linears,
	routers,
	stateSpaces,
	convolutions,
	pools,
	recurrent,
	layerOrder,
	layerLimits,
	schedules,
	shortParameters,
))

// byFamily brings the mistakes of each family together, in the order of their first ones.
func byFamily(mistakes []catalogue.Mistake) []catalogue.Mistake {
	var families []catalogue.Family
	for _, m := range mistakes {
		if !slices.Contains(families, m.Family) {
			families = append(families, m.Family)
		}
	}
	slices.SortStableFunc(mistakes, func(a, b catalogue.Mistake) int {
		return slices.Index(families, a.Family) - slices.Index(families, b.Family)
	})
	return mistakes
}

// ByID returns the mistake with the given id, and whether there is one.
func ByID(id string) (catalogue.Mistake, bool) {
	for _, m := range slices.Concat(Mistakes, inParameters) {
		if m.ID == id {
			return m, true
		}
	}
	return catalogue.Mistake{}, false
}

// nodes returns the nodes that an edit makes.
func nodes(n ...graph.Node) []graph.Node { return n }

// onlyIf returns an edit of the nodes that fit.
func onlyIf(fits func(*graph.View, graph.Node) bool, edit graph.Edit) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		if !fits(v, n) {
			return nil
		}
		return edit(v, n)
	}
}

// where returns an edit that makes one node of each node that fits.
func where(fits func(*graph.View, graph.Node) bool, change func(graph.Node) graph.Node) graph.Edit {
	return onlyIf(fits, func(_ *graph.View, n graph.Node) []graph.Node { return nodes(change(n)) })
}

// withoutFactor returns an edit that leaves out the number by which a node multiplies or divides.
func withoutFactor(fits func(*graph.View, graph.Node) bool) graph.Edit {
	return where(fits, func(n graph.Node) graph.Node {
		if n.Operands[0].Name == "" {
			return n.Pass(n.Operands[1])
		}
		return n.Pass(n.Operands[0])
	})
}

// isOp returns a condition on the operator of a node.
func isOp(ops ...string) func(*graph.View, graph.Node) bool {
	return func(_ *graph.View, n graph.Node) bool { return slices.Contains(ops, n.Op) }
}
