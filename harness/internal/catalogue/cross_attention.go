package catalogue

import (
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// crossAttention holds mistakes with the memory, the input of keys and values in cross attention.
var crossAttention = []Mistake{
	{
		ID:          "memory-is-query",
		Title:       "keys and values taken from the query input",
		Explanation: "The layer attends to its own input, and the memory has no effect.",
		Fix:         "Pass the memory as key and value: attention(x, memory, memory).",
		Family:      CrossAttention,
		Kind:        Layout,
		Stage:       Projection,
		Needs:       "keys and values shaped like the query input, but not both equal to it",
		Refs:        []string{"K12"},
		Plant:       memoryIsQuery,
	},
	{
		ID:          "memory-value-is-query",
		Title:       "values taken from the query input",
		Explanation: "Keys come from the memory, but values come from the layer's own input.",
		Fix:         "Pass the memory as key and value: attention(x, memory, memory).",
		Family:      CrossAttention,
		Kind:        Layout,
		Stage:       Projection,
		Needs:       "values shaped like the query input, but not equal to it",
		Refs:        []string{"K14"},
		Plant:       memoryValueIsQuery,
	},
}

func memoryIsQuery(p *oracle.Problem, _ *rand.Rand) bool {
	shape := p.Query.Shape
	if p.Layer == nil || !slices.Equal(p.Key.Shape, shape) || !slices.Equal(p.Value.Shape, shape) {
		return false
	}
	if isSelfAttention(p) {
		return false
	}
	p.Key, p.Value = p.Query, p.Query
	return true
}

func memoryValueIsQuery(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Layer == nil || sameArray(p.Value, p.Query) || !slices.Equal(p.Value.Shape, p.Query.Shape) {
		return false
	}
	p.Value = p.Query
	return true
}
