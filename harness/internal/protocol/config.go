package protocol

import (
	"cmp"
	"math"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// Function is the configuration of scaled_dot_product_attention. The shapes of the inputs give the
// number of heads and the widths.
type Function struct {
	Causality     string   `json:"causality"`
	FirstPosition int      `json:"first_position"`
	Scale         float64  `json:"scale"`
	EmptyRow      string   `json:"empty_row"`
	GroupedQuery  bool     `json:"enable_gqa"`
	Window        *int     `json:"window"`
	Softcap       *float64 `json:"softcap"`
	ALiBi         bool     `json:"alibi"`

	SoftmaxPrecision *fixture.DType `json:"softmax_precision"`
}

// Layer is the configuration of a multi-head attention layer.
type Layer struct {
	EmbedDim      int      `json:"embed_dim"`
	NumHeads      int      `json:"num_heads"`
	NumKVHeads    int      `json:"num_kv_heads"`
	HeadDim       int      `json:"head_dim"`
	KDim          int      `json:"kdim"`
	VDim          int      `json:"vdim"`
	Bias          bool     `json:"bias"`
	OutputBias    bool     `json:"output_bias"`
	Keys          string   `json:"keys"`
	Prefix        string   `json:"prefix"`
	Order         string   `json:"input_layout"`
	Weights       *string  `json:"need_weights"`
	Causality     string   `json:"causality"`
	FirstPosition int      `json:"first_position"`
	Scale         float64  `json:"scale"`
	EmptyRow      string   `json:"empty_row"`
	BiasKV        bool     `json:"bias_kv"`
	ZeroAttn      bool     `json:"add_zero_attn"`
	RoPE          *RoPE    `json:"rope"`
	QKNorm        *QKNorm  `json:"qk_norm"`
	Window        *int     `json:"window"`
	Softcap       *float64 `json:"softcap"`
	ALiBi         bool     `json:"alibi"`
	Sinks         bool     `json:"sinks"`
	Relative      *int     `json:"relative_bias"`
}

// RoPE is config.rope of a layer.
type RoPE struct {
	Style  string  `json:"style"`
	Dim    int     `json:"dim"`
	Base   float64 `json:"base"`
	Factor float64 `json:"factor"`
}

// QKNorm is config.qk_norm of a layer.
type QKNorm struct {
	Epsilon float64 `json:"eps"`
}

// Rotary is the configuration of rotary_embedding.
type Rotary struct {
	Style    string `json:"style"`
	Dim      int    `json:"dim"`
	NumHeads *int   `json:"num_heads"`
}

// Module describes a module. Only its class is always known.
type Module struct {
	Module    string         `json:"module"`
	Structure []string       `json:"structure"`
	Settings  jsontext.Value `json:"settings"`
	DType     fixture.DType  `json:"dtype"`
	// Output names the output in a result that holds several.
	Output string `json:"output,omitempty"`
	// Padded holds the padded positions of each batch element, by the mask that hides them. Their
	// rows of the output are not judged.
	Padded map[string][][]int `json:"padded,omitempty"`
}

// configOf returns the configuration of a case: a Function, a Layer, a Rotary or a Module. Together
// with the arrays it describes the case completely.
func configOf(c *fixture.Case) any {
	switch c.Op {
	case fixture.SDPA:
		return function(c)
	case fixture.MultiHead:
		return layer(c)
	case fixture.Rotary:
		return rotary(c)
	}
	return module(c)
}

func module(c *fixture.Case) Module {
	settings := c.Settings
	if settings == nil {
		settings = jsontext.Value("{}")
	}
	return Module{
		Module: c.Module, Structure: c.Structure, Settings: settings, DType: cmp.Or(c.Stored, fixture.Float32),
		Output: c.Part, Padded: padded(c),
	}
}

// padded returns the positions of padded tokens, nil if there are none.
func padded(c *fixture.Case) map[string][][]int {
	var all map[string][][]int
	for _, p := range c.Padded {
		if all == nil {
			all = map[string][][]int{}
		}
		for row := range slices.Chunk(p.Rows.Data, p.Rows.Shape[1]) {
			positions := []int{}
			for position, hidden := range row {
				if hidden {
					positions = append(positions, position)
				}
			}
			all[p.Mask] = append(all[p.Mask], positions)
		}
	}
	return all
}

func rotary(c *fixture.Case) Rotary {
	o, cos := c.Rotation, c.Turned.Cos.Shape
	return Rotary{
		Style: fixture.Word(o.Style), Dim: cmp.Or(o.Dim, 2*cos[len(cos)-1]), NumHeads: nullIfZero(o.NumHeads),
	}
}

func function(c *fixture.Case) Function {
	o, query := c.Options, c.Inputs.Query.Shape
	return Function{
		Causality: fixture.Word(o.Causality), EmptyRow: fixture.Word(o.EmptyRow), GroupedQuery: o.GroupedQuery,
		Scale: scale(o.Scale, query[len(query)-1]), Window: nullIfZero(o.Window),
		Softcap: nullIfZero(o.Softcap), ALiBi: o.ALiBi, FirstPosition: c.FirstPosition(),
		SoftmaxPrecision: nullIfZero(c.SoftmaxPrecision),
	}
}

func layer(c *fixture.Case) Layer {
	l := c.Layer
	config := Layer{
		EmbedDim: l.EmbedDim, KDim: cmp.Or(l.KDim, l.EmbedDim), VDim: cmp.Or(l.VDim, l.EmbedDim),
		NumHeads: l.NumHeads, NumKVHeads: cmp.Or(l.NumKVHeads, l.NumHeads),
		HeadDim: cmp.Or(l.HeadDim, l.EmbedDim/l.NumHeads),
		Bias:    !l.WithoutBias, OutputBias: !l.WithoutBias && !l.WithoutOutputBias,
		Keys: fixture.Word(l.ParamLayout), Prefix: l.Prefix, Order: fixture.Word(l.InputLayout),
		Causality: fixture.Word(attention.TopLeft), EmptyRow: fixture.Word(l.EmptyRow),
		BiasKV: l.BiasKV, ZeroAttn: l.ZeroAttn, Window: nullIfZero(l.Window), Softcap: nullIfZero(l.Softcap),
		ALiBi: l.ALiBi, Sinks: l.Sinks, Relative: nullIfZero(l.RelativeBias), FirstPosition: c.FirstPosition(),
	}
	config.Scale = scale(l.Scale, config.HeadDim)
	if l.Bidirectional {
		config.Causality = fixture.Word(attention.NotCausal)
	}
	if l.NeedWeights != attention.NoWeights {
		config.Weights = nullIfZero(fixture.Word(l.NeedWeights))
	}
	if r := l.RoPE; r != nil {
		config.RoPE = &RoPE{
			Style: fixture.Word(r.Style), Dim: cmp.Or(r.Dim, config.HeadDim), Base: r.Base, Factor: cmp.Or(r.Factor, 1),
		}
	}
	if l.QKNorm != nil {
		config.QKNorm = &QKNorm{l.QKNorm.Epsilon}
	}
	return config
}

// scale returns the given scale, or PyTorch's default 1/sqrt(width) if it is 0.
func scale(given float64, width int) float64 {
	return cmp.Or(given, 1/math.Sqrt(float64(width)))
}

// nullIfZero returns nil, which JSON writes as null, if value is zero.
func nullIfZero[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}
