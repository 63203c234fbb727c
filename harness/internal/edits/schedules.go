package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

const readLayerKinds = "Read the kind of each layer from layer_types, or from sliding_window_pattern."

// schedules holds mistakes with what differs between the layers of a model: windows, rotary tables,
// layers without positions, scales.
var schedules = []catalogue.Mistake{
	{
		ID: "windows-exchanged", Title: "layers with and without a window exchanged", Family: catalogue.Schedule, Kind: catalogue.Altered,
		Explanation: "Layers with a sliding window see all keys, and the others have the window.",
		Fix:         readLayerKinds, Refs: []string{"L05"},
		Edit: ofKind(masks, func(kinds []int, i int) int { return 1 - kinds[i] }),
	},
	{
		ID: "windows-one-early", Title: "windows one layer early", Family: catalogue.Schedule, Kind: catalogue.Altered,
		Explanation: "Each layer has the mask of the next one.",
		Fix:         readLayerKinds, Refs: []string{"L05"},
		Edit: ofKind(masks, shifted(1)),
	},
	{
		ID: "windows-one-late", Title: "windows one layer late", Family: catalogue.Schedule, Kind: catalogue.Altered,
		Explanation: "Each layer has the mask of the layer before.",
		Fix:         readLayerKinds, Refs: []string{"L05"},
		Edit: ofKind(masks, shifted(-1)),
	},
	{
		ID: "windows-of-first-layer", Title: "the mask of the first layer in every layer", Family: catalogue.Schedule, Kind: catalogue.Altered,
		Explanation: "The model has layers with a window and layers without one.",
		Fix:         readLayerKinds, Refs: []string{"L05", "L06"},
		Edit: ofKind(masks, func(kinds []int, i int) int { return 0 }),
	},
	{
		ID: "windows-never-of-first-layer", Title: "the mask of the other kind of layer in every layer",
		Family: catalogue.Schedule, Kind: catalogue.Altered,
		Explanation: "The model has layers with a window and layers without one. The mask of the first layer is missing.",
		Fix:         readLayerKinds, Refs: []string{"L05", "L06"},
		Edit: ofKind(masks, func(kinds []int, i int) int { return 1 }),
	},
	{
		ID: "rotary-tables-exchanged", Title: "the rotary tables of the two kinds of layers exchanged",
		Family: catalogue.Schedule, Kind: catalogue.Altered,
		Explanation: "Layers with a window rotate by the base of the others, and the reverse.",
		Fix:         "Layers with a window have rope_local_base_freq, the others rope_theta.",
		Refs:        []string{"L07"},
		Edit:        ofKind(tables, func(kinds []int, i int) int { return 1 - kinds[i] }),
	},
	{
		ID: "rotary-tables-of-first-layer", Title: "the rotary tables of the first layer in every layer",
		Family: catalogue.Schedule, Kind: catalogue.Altered,
		Explanation: "One base serves all layers, and the model has two.",
		Fix:         "Layers with a window have rope_local_base_freq, the others rope_theta.",
		Refs:        []string{"L07"},
		Edit:        ofKind(tables, func(kinds []int, i int) int { return 0 }),
	},
	{
		ID: "rotary-tables-never-of-first-layer", Title: "the rotary tables of the other kind of layer in every layer",
		Family: catalogue.Schedule, Kind: catalogue.Altered,
		Explanation: "One base serves all layers, and the model has two.",
		Fix:         "Layers with a window have rope_local_base_freq, the others rope_theta.",
		Refs:        []string{"L07"},
		Edit:        ofKind(tables, func(kinds []int, i int) int { return 1 }),
	},
	{
		ID: "rotary-everywhere", Title: "a rotary embedding in the layers without positions", Family: catalogue.Schedule, Kind: catalogue.Altered,
		Explanation: "Layers that have no rotary embedding rotate queries and keys.",
		Fix:         "Leave out the rotation where no_rope_layers says so.",
		Refs:        []string{"L08"},
		Edit:        onlyIf(unrotated, rotated),
	},
	{
		ID: "rotary-layers-exchanged", Title: "layers with and without a rotary embedding exchanged",
		Family: catalogue.Schedule, Kind: catalogue.Altered,
		Explanation: "Layers with a rotary embedding do not rotate, and the others do.",
		Fix:         "Look at the meaning of no_rope_layers: in some models 1 means a rotation.",
		Refs:        []string{"L08"}, Joint: true,
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op == "rotary" && slices.ContainsFunc(v.Nodes, func(a graph.Node) bool { return unrotated(v, a) }) {
				return nodes(n.Pass(n.Operands[0]))
			}
			if !unrotated(v, n) {
				return nil
			}
			return rotated(v, n)
		},
	},
	{
		ID: "scale-of-first-layer", Title: "the attention scale of the first layer in every layer", Family: catalogue.Schedule, Kind: catalogue.Altered,
		Explanation: "The scale of the scores does not change with the layer.",
		Fix:         "Divide the scores by the number of the layer, too: scale_attn_by_inverse_layer_idx.",
		Refs:        []string{"L12"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			for _, first := range v.Nodes {
				if first.Op == "attention" && n.Op == "attention" && first.Attributes.Scale != n.Attributes.Scale {
					return nodes(n.Set(func(a *graph.Attributes) { a.Scale = first.Attributes.Scale }))
				} else if first.Op == "attention" {
					return nil
				}
			}
			return nil
		},
	},
}

// layerPart is the difference of two kinds of layers: operands of the nodes of an operator.
type layerPart struct {
	op       string
	operands []int
}

var (
	masks  = layerPart{"attention", []int{3}}
	tables = layerPart{"rotary", []int{1, 2}}
)

// kinds returns the operands of each of two kinds of layers, the first layer's first, and the kind
// of each layer. There are none if the layers are all alike, or of more than two kinds.
func (p layerPart) kinds(v *graph.View) (operands [][]graph.Operand, kinds []int, layers []string) {
	for _, n := range v.Nodes {
		path := graph.LayerPath(n.Module)
		if n.Op != p.op || path == "" || slices.Contains(layers, path) {
			continue
		}
		own := p.of(n)
		kind := slices.IndexFunc(operands, func(o []graph.Operand) bool { return slices.Equal(o, own) })
		if kind < 0 {
			kind = len(operands)
			operands = append(operands, own)
		}
		kinds, layers = append(kinds, kind), append(layers, path)
	}
	if len(operands) != 2 || !sameShape(v, operands[0][0], operands[1][0]) || operands[0][0].Absent {
		return nil, nil, nil
	}
	return operands, kinds, layers
}

func (p layerPart) of(n graph.Node) []graph.Operand {
	own := make([]graph.Operand, len(p.operands))
	for i, at := range p.operands {
		if at < len(n.Operands) {
			own[i] = n.Operands[at]
		}
	}
	return own
}

// ofKind returns an edit that gives each layer the part of a kind of layer.
func ofKind(p layerPart, kind func(kinds []int, layer int) int) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		if n.Op != p.op {
			return nil
		}
		operands, kinds, layers := p.kinds(v)
		layer := slices.Index(layers, graph.LayerPath(n.Module))
		if layer < 0 || !slices.Equal(p.of(n), operands[kinds[layer]]) {
			return nil
		}
		wanted := kind(kinds, layer)
		if wanted == kinds[layer] {
			return nil
		}
		for i, at := range p.operands {
			n = n.Put(at, operands[wanted][i])
		}
		return nodes(n)
	}
}

// shifted returns the kind of a layer in a pattern that starts earlier or later. Patterns of two
// layers stay, because their shift exchanges the kinds.
func shifted(by int) func(kinds []int, layer int) int {
	return func(kinds []int, layer int) int {
		period := 1
		for ; period < len(kinds); period++ {
			if slices.Equal(kinds[period:], kinds[:len(kinds)-period]) {
				break
			}
		}
		if period == 2 {
			return kinds[layer]
		}
		return kinds[((layer+by)%period+period)%period]
	}
}

// unrotated reports whether attention takes queries and keys that were not rotated, in a model that
// rotates others.
func unrotated(v *graph.View, n graph.Node) bool {
	return n.Op == "attention" && graph.LayerPath(n.Module) != "" && tableFor(v, n) != nil &&
		!upstream(v, n.Operands[0], graph.LayerPath(n.Module))["rotary"]
}

// tableFor returns a rotation whose tables fit queries and keys of attention.
func tableFor(v *graph.View, n graph.Node) *graph.Node {
	for i := range v.Nodes {
		r := &v.Nodes[i]
		if r.Op != "rotary" {
			continue
		}
		q, k := v.Shape(n.Operands[0]), v.Shape(n.Operands[1])
		if len(r.Shape) == 4 && len(q) == 4 && r.Shape[3] == q[3] && r.Shape[2] == q[2] && k[2] == q[2] {
			return r
		}
	}
	return nil
}

// rotated rotates queries and keys of attention.
func rotated(v *graph.View, n graph.Node) []graph.Node {
	d, table := newDraft(v, n), tableFor(v, n)
	for i := range 2 {
		n = n.Put(i, d.put(v.Shape(n.Operands[i]), table.Put(0, n.Operands[i])))
	}
	return d.end(n)
}
