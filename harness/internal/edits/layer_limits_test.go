package edits_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/graph"
)

// A layer of a decoder also takes what the encoder gives. Both may have the same shape.
func TestALayerOfADecoderIsLeftOut(t *testing.T) {
	node := func(name, module string, operands ...string) graph.Node {
		n := graph.Node{Name: name, Op: "add", Module: module, Shape: []int{2, 3}}
		for _, o := range operands {
			n.Operands = append(n.Operands, graph.Value(o))
		}
		return n
	}
	g := &graph.Graph{Output: "d1", Parameters: []string{"w", "encoder.0.w", "encoder.1.w", "decoder.0.w", "decoder.1.w"}, Nodes: []graph.Node{
		node("source", "embed", "w", "w"), node("target", "embed", "w", "source"),
		node("e0", "encoder.0", "source", "w"), node("e1", "encoder.1", "e0", "w"), node("memory", "norm", "e1", "w"),
		node("d0", "decoder.0", "target", "memory"), node("d1", "decoder.1", "d0", "memory"),
	}}
	values := graph.Values[float64]{"w": {Shape: []int{2, 3}, Data: make([]float64, 6)}}
	for _, n := range g.Nodes {
		values[n.Name] = values["w"]
	}
	view := graph.NewView(g, values)
	for id, want := range map[string]map[string]string{
		"layer-first-missing": {"e0": "source", "d0": "target"},
		"layer-last-missing":  {"e1": "e0", "d1": "d0"},
	} {
		m, _ := edits.ByID(id)
		passed := map[string]string{}
		for _, site := range view.Sites(m.Edit) {
			made := m.Edit(view, g.Nodes[site])
			passed[g.Nodes[site].Name] = made[len(made)-1].Operands[0].Name
		}
		require.Equal(t, want, passed, id)
	}
}
