package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// positionTables holds mistakes with positions beside padding, in images, and as sinusoids.
var positionTables = []catalogue.Mistake{
	{
		ID: "positions-count-padding", Title: "positions that count padded tokens", Family: catalogue.Embedding, Kind: catalogue.Altered,
		Explanation: "Every row has the positions of a row without padding.",
		Fix:         "Count the tokens where attention_mask is 1: cumsum(mask) - 1.",
		Refs:        []string{"E06"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			ids := v.Shape(n.Operands[min(1, len(n.Operands)-1)])
			if !isPositions(v, n) || len(ids) != 2 || ids[0] < 2 {
				return nil
			}
			d := newDraft(v, n)
			most := d.set("max", []int{1, ids[1]}, n.Operands[1], func(a *graph.Attributes) { a.Dims, a.Keep = []int{0}, true })
			return d.end(n.Put(1, d.set("expand", ids, most, func(a *graph.Attributes) { a.Shape = ids })))
		},
	},
	{
		ID: "positions-table-missing", Title: "the table of positions left out", Family: catalogue.Embedding, Kind: catalogue.Parameters,
		Explanation: "The positions of patches are not added.",
		Fix:         "Load position_embeddings, and add them behind the class token.",
		Refs:        []string{"E07"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			x, _, ok := withTable(v, n)
			if !ok {
				return nil
			}
			return nodes(n.Pass(x))
		},
	},
	{
		ID: "positions-table-as-input", Title: "the patches added to themselves for their positions", Family: catalogue.Embedding, Kind: catalogue.Altered,
		Explanation: "x + x was computed, where the model has x + positions.",
		Fix:         "Add the table of positions: look at what its interpolation returns.",
		Refs:        []string{"E07"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			x, _, ok := withTable(v, n)
			if !ok {
				return nil
			}
			return nodes(n.With(x, x))
		},
	},
	{
		ID: "sinusoid-halves-exchanged", Title: "sines and cosines of the timestep exchanged", Family: catalogue.Embedding, Kind: catalogue.Layout,
		Explanation: "The halves of the sinusoidal embedding are in the other order.",
		Fix:         "Look at flip_sin_to_cos: some models put the cosines first.",
		Refs:        []string{"E25"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op != "cat" || len(n.Operands) != 2 {
				return nil
			}
			a, b := n.Operands[0], n.Operands[1]
			if !(v.Made(a, "sin") && v.Made(b, "cos") || v.Made(a, "cos") && v.Made(b, "sin")) ||
				v.Maker(a).Operands[0] != v.Maker(b).Operands[0] {
				return nil
			}
			return nodes(n.With(b, a))
		},
	},
}

// withTable splits a sum of tokens (B, T, D) and a parameter with a row for each token.
func withTable(v *graph.View, n graph.Node) (x, table graph.Operand, ok bool) {
	if n.Op != "add" || len(n.Shape) != 3 || graph.LayerPath(n.Module) != "" {
		return x, table, false
	}
	for i, o := range n.Operands {
		parameter, ok := parameterOf(v, o)
		shape := v.Shape(parameter)
		if ok && len(shape) >= 2 && slices.Equal(shape[len(shape)-2:], n.Shape[1:]) &&
			v.Maker(n.Operands[1-i]) != nil && sameShape(v, n.Operands[1-i], graph.Value(n.Name)) {
			return n.Operands[1-i], o, true
		}
	}
	return x, table, false
}
