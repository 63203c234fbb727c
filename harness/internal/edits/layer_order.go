package edits

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// layerOrder holds mistakes with the order of a model's layers.
var layerOrder = []catalogue.Mistake{
	{
		ID: "layers-reversed", Title: "the layers in reverse order", Family: catalogue.LayerOrder, Kind: catalogue.Parameters,
		Explanation: "The first layer has the parameters of the last one.",
		Fix:         "Run the layers from 0 on.",
		Edit:        permuted(func(layer, count int) int { return count - 1 - layer }),
	},
	{
		ID: "layers-sorted-as-words", Title: "the layers in the order 0, 1, 10, 11, 2", Family: catalogue.LayerOrder, Kind: catalogue.Parameters,
		Explanation: "The keys of the state dict were sorted as words.",
		Fix:         "Sort layers by their numbers.",
		Refs:        []string{"L01"},
		Edit:        permuted(wordOrder),
	},
	{
		ID: "layers-all-first", Title: "the parameters of the first layer in every layer", Family: catalogue.LayerOrder, Kind: catalogue.Parameters,
		Explanation: "Every layer was loaded with the same parameters.",
		Fix:         "Load layer i from the keys of layer i.",
		Edit:        permuted(func(int, int) int { return 0 }),
	},
	{
		ID: "layers-all-last", Title: "the parameters of the last layer in every layer", Family: catalogue.LayerOrder, Kind: catalogue.Parameters,
		Explanation: "Every layer was loaded with the same parameters, and the last ones stayed.",
		Fix:         "Load layer i from the keys of layer i.",
		Edit:        permuted(func(_, count int) int { return count - 1 }),
	},
}

// permuted returns an edit that takes the parameters of another layer.
func permuted(from func(layer, count int) int) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		changed := false
		operands := slices.Clone(n.Operands)
		for i, o := range operands {
			prefix, layer, rest := graph.Layer(o.Name)
			if !v.Parameter(o) || layer < 0 {
				continue
			}
			key := fmt.Sprintf("%s.%d.%s", prefix, from(layer, layers(v, prefix)), rest)
			if !v.Parameter(graph.Value(key)) || !sameShape(v, graph.Value(key), o) {
				return nil
			}
			changed = changed || key != o.Name
			operands[i] = graph.Value(key)
		}
		if !changed {
			return nil
		}
		return nodes(n.With(operands...))
	}
}

// layers counts the layers whose parameters have a prefix.
func layers(v *graph.View, prefix string) int {
	count := 0
	for _, key := range v.Parameters {
		if p, layer, _ := graph.Layer(key); p == prefix {
			count = max(count, layer+1)
		}
	}
	return count
}

// wordOrder returns the layer whose number stands at a place when numbers are sorted as words.
func wordOrder(layer, count int) int {
	words := make([]string, count)
	for i := range words {
		words[i] = strconv.Itoa(i)
	}
	slices.SortFunc(words, strings.Compare)
	n, _ := strconv.Atoi(words[layer])
	return n
}
