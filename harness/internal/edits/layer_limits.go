package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// layerLimits holds mistakes with the first and last layer, and with layers one place off.
var layerLimits = []catalogue.Mistake{
	{
		ID: "layers-one-early", Title: "the parameters of the next layer in each layer", Family: catalogue.LayerOrder, Kind: catalogue.Parameters,
		Explanation: "Layer i has the parameters of layer i + 1, and the last two have the same.",
		Fix:         "Count layers from 0, as the keys of the state dict do.",
		Refs:        []string{"L02"},
		Edit:        permuted(func(layer, count int) int { return min(layer+1, count-1) }),
	},
	{
		ID: "layers-one-late", Title: "the parameters of the layer before in each layer", Family: catalogue.LayerOrder, Kind: catalogue.Parameters,
		Explanation: "Layer i has the parameters of layer i - 1, and the first two have the same.",
		Fix:         "Count layers from 0, as the keys of the state dict do.",
		Refs:        []string{"L02"},
		Edit:        permuted(func(layer, _ int) int { return max(layer-1, 0) }),
	},
	{
		ID: "layer-last-missing", Title: "the last layer left out", Family: catalogue.LayerOrder, Kind: catalogue.Missing,
		Explanation: "The output comes from the layer before the last one.",
		Fix:         "Run all layers: look for a clip skip, or for hidden_states[-2].",
		Refs:        []string{"E27", "L02"},
		Edit:        withoutLayer(func(count int) int { return count - 1 }),
	},
	{
		ID: "layer-first-missing", Title: "the first layer left out", Family: catalogue.LayerOrder, Kind: catalogue.Missing,
		Explanation: "The embeddings go to the second layer.",
		Fix:         "Run the layers from 0 on.",
		Refs:        []string{"L02"},
		Edit:        withoutLayer(func(int) int { return 0 }),
	},
}

// withoutLayer returns an edit that gives the input of a layer as its output.
func withoutLayer(which func(count int) int) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		prefix, number, _ := graph.Layer(n.Module)
		if number < 0 || layers(v, prefix) < 2 || number != which(layers(v, prefix)) || !leaves(v, n) {
			return nil
		}
		inputs := inputsOf(v, n)
		if inputs == nil {
			return nil
		}
		input := inputOfStack(v, inputs, prefix, number)
		if input.Absent {
			return nil
		}
		return nodes(n.Pass(input))
	}
}

// leaves reports whether a value is used outside of its layer.
func leaves(v *graph.View, n graph.Node) bool {
	if n.Name == v.Output {
		return true
	}
	for _, user := range v.Users(n.Name) {
		if graph.LayerPath(user.Module) != graph.LayerPath(n.Module) {
			return true
		}
	}
	return false
}

// inputsOf returns the values of the output's shape that the layer of a node takes. It returns nil
// if the layer has several outputs.
func inputsOf(v *graph.View, n graph.Node) []graph.Operand {
	path := graph.LayerPath(n.Module)
	var inputs []graph.Operand
	for _, m := range v.Nodes {
		if graph.LayerPath(m.Module) != path {
			continue
		}
		if m.Name != n.Name && leaves(v, m) {
			return nil
		}
		for _, o := range m.Operands {
			maker := v.Maker(o)
			outside := maker != nil && graph.LayerPath(maker.Module) != path
			if outside && sameShape(v, o, graph.Value(n.Name)) && !slices.Contains(inputs, o) {
				inputs = append(inputs, o)
			}
		}
	}
	return inputs
}

// inputOfStack returns the only input of a layer. Of several it returns the one from the layer
// before, or for the first layer the one that no layer made: a decoder also takes what its encoder
// gives. The operand is absent if that does not decide.
func inputOfStack(v *graph.View, inputs []graph.Operand, prefix string, number int) graph.Operand {
	if len(inputs) > 1 {
		inputs = slices.DeleteFunc(inputs, func(o graph.Operand) bool {
			if number == 0 {
				return fromLayer(v, o)
			}
			from, before, _ := graph.Layer(v.Maker(o).Module)
			return from != prefix || before != number-1
		})
	}
	if len(inputs) != 1 {
		return graph.None
	}
	return inputs[0]
}

// fromLayer reports whether a value is computed from what a layer gives.
func fromLayer(v *graph.View, o graph.Operand) bool {
	n := v.Maker(o)
	return n != nil && (graph.LayerPath(n.Module) != "" ||
		slices.ContainsFunc(n.Operands, func(o graph.Operand) bool { return fromLayer(v, o) }))
}
