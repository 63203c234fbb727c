package edits

import (
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
		path := graph.LayerPath(n.Module)
		input := graph.None
		for _, m := range v.Nodes {
			if graph.LayerPath(m.Module) != path {
				continue
			}
			if m.Name != n.Name && leaves(v, m) {
				return nil // a layer with several outputs
			}
			for _, o := range m.Operands {
				maker := v.Maker(o)
				if maker == nil || graph.LayerPath(maker.Module) == path || !sameShape(v, o, graph.Value(n.Name)) {
					continue
				}
				if !input.Absent && input != o {
					return nil // a layer with several inputs
				}
				input = o
			}
		}
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
