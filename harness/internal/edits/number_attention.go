package edits

import (
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// attentionNumbers are the numbers of attention inside a model.
var attentionNumbers = []Number{
	{
		Number: catalogue.Number{
			ID: "model-scale", Title: "scale of the attention scores",
			Fix: "See which width the scale is computed from, and whether it is applied once.",
		},
		Alike: always("all queries, or all keys, that much larger would give the same"),
		At:    func(_ *graph.View, n graph.Node) (float64, bool) { return n.Attributes.Scale, n.Attributes.Scale > 0 },
		To:    attentionNumber(func(a *graph.Attributes, value float64) { a.Scale = value }),
		Span:  times(300),
	},
	{
		Number: catalogue.Number{
			ID: "model-softcap", Title: "softcap of the attention scores", Usual: []float64{20, 30, 50},
			Fix: "Read the softcap from the configuration: attn_logit_softcapping.",
		},
		At: func(_ *graph.View, n graph.Node) (float64, bool) {
			if n.Attributes.Softcap == nil {
				return 0, false
			}
			return *n.Attributes.Softcap, *n.Attributes.Softcap > 0
		},
		To:   attentionNumber(func(a *graph.Attributes, value float64) { a.Softcap = &value }),
		Span: times(1e4),
	},
	{
		Number: catalogue.Number{
			ID: "model-window", Title: "window", Step: 1,
			Fix: "Read sliding_window from the configuration of this layer, and count the query itself.",
		},
		At: func(v *graph.View, n graph.Node) (float64, bool) {
			w, ok := windowOf(v, n)
			return float64(w.width), ok
		},
		To: withWindow,
		Span: func(v *graph.View, n graph.Node, _ float64) (least, most float64) {
			mask := v.Shape(n.Operands[3])
			return 1, float64(mask[len(mask)-1])
		},
	},
}

func attentionNumber(change func(a *graph.Attributes, value float64)) func(float64) graph.Edit {
	return func(value float64) graph.Edit {
		return func(_ *graph.View, n graph.Node) []graph.Node {
			return nodes(n.Set(func(a *graph.Attributes) { change(a, value) }))
		}
	}
}

// window is a mask (..., tokens, tokens) that hides keys at a distance of width or more, later keys
// if it is causal, and keys that no query sees.
type window struct {
	mask   *graph.Tensor[float64]
	tokens int
	width  int
	causal bool
	hidden float64 // what the mask holds for a hidden key
}

// windowOf returns the window that a mask of attention is made of. It reports false unless the
// window gives every element of the mask, and hides a key that the mask shows another query.
func windowOf(v *graph.View, n graph.Node) (w window, ok bool) {
	if n.Op != "attention" || n.Attributes.Causal {
		return w, false
	}
	mask := v.Constant(n.Operands[3])
	if mask == nil || len(mask.Shape) < 2 {
		return w, false
	}
	w = window{mask: mask, tokens: mask.Shape[len(mask.Shape)-1], causal: true}
	if mask.Shape[len(mask.Shape)-2] != w.tokens || w.tokens < 2 {
		return w, false
	}
	if w.hidden, ok = hiddenValue(mask); !ok {
		return w, false
	}
	for i, x := range mask.Data {
		if query, key := w.place(i); w.seen(x) {
			w.width = max(w.width, 1+max(query-key, key-query))
			w.causal = w.causal && key <= query
		}
	}
	return w, w.width < w.tokens && slices.Equal(w.filled(), mask.Data)
}

// hiddenValue returns the only value of a mask beside the one for a key that is seen. The latter is
// 1 in a mask of booleans, and 0 in one of numbers.
func hiddenValue(mask *graph.Tensor[float64]) (hidden float64, ok bool) {
	const hides = -1e4
	found := false
	for _, x := range mask.Data {
		switch {
		case mask.Bool && x == 0, !mask.Bool && x <= hides:
			if found && x != hidden {
				return 0, false
			}
			hidden, found = x, true
		case mask.Bool && x == 1, !mask.Bool && x == 0:
		default:
			return 0, false
		}
	}
	return hidden, found
}

func (w window) seen(x float64) bool { return x != w.hidden }

// place returns the query and the key of an element.
func (w window) place(i int) (query, key int) { return i / w.tokens % w.tokens, i % w.tokens }

// filled returns the elements of the mask for its width.
func (w window) filled() []float64 {
	shown := make([]bool, len(w.mask.Data)/w.tokens) // for each matrix of the mask and each key
	at := func(i int) *bool { return &shown[i/(w.tokens*w.tokens)*w.tokens+i%w.tokens] }
	for i, x := range w.mask.Data {
		*at(i) = *at(i) || w.seen(x)
	}
	visible := 0.0
	if w.mask.Bool {
		visible = 1
	}
	filled := make([]float64, len(w.mask.Data))
	for i := range filled {
		filled[i] = w.hidden
		query, key := w.place(i)
		far := max(query-key, key-query) >= w.width || w.causal && key > query
		if !far && *at(i) {
			filled[i] = visible
		}
	}
	return filled
}

func withWindow(value float64) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		w, _ := windowOf(v, n)
		w.width = int(math.Round(value))
		mask := n.Table(1, &graph.Tensor[float64]{Shape: w.mask.Shape, Data: w.filled(), Bool: w.mask.Bool})
		return nodes(mask, n.With(n.Operands[0], n.Operands[1], n.Operands[2], graph.Value(mask.Name)))
	}
}
