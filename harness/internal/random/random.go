// Package random draws cases for tests. It combines options freely, in ways that no model does. The
// cases are as small as possible, so that they say little about the mistakes made on them.
package random

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// Draw draws random things.
type Draw struct{ *rand.Rand }

// Some returns true half of the time.
func (r Draw) Some() bool { return r.IntN(2) == 0 }

// Tensor draws N(0,1) values.
func (r Draw) Tensor(shape ...int) *attention.Tensor {
	t := attention.NewTensor(shape...)
	for i := range t.Data {
		t.Data[i] = float32(r.NormFloat64())
	}
	return t
}

// Mask draws a mask; each element is true with the given probability.
func (r Draw) Mask(probability float64, shape ...int) *attention.Mask {
	m := attention.NewMask(shape...)
	for i := range m.Data {
		m.Data[i] = r.Float64() < probability
	}
	return m
}

// Bias draws an additive mask of N(0,1) values. It hides some keys: by -Inf, by -1e4, or by the
// lowest float32.
func (r Draw) Bias(shape ...int) *attention.Tensor {
	t := r.Tensor(shape...)
	for i := range t.Data {
		switch r.IntN(8) {
		case 0:
			t.Data[i] = float32(math.Inf(-1))
		case 1:
			t.Data[i] = -1e4
		case 2:
			t.Data[i] = -math.MaxFloat32
		}
	}
	return t
}

// Pick returns one of the values.
func Pick[T any](r Draw, of ...T) T { return of[r.IntN(len(of))] }

// Function draws a case of scaled dot-product attention, without results.
func (r Draw) Function() *fixture.Case {
	c := &fixture.Case{Op: fixture.SDPA}
	o := &c.Options
	batch, group, kvHeads := 1+r.IntN(3), 1+r.IntN(3), 1+r.IntN(3)
	queries, keys, width, valueWidth := 1+r.IntN(6), 1+r.IntN(6), 1+r.IntN(5), 1+r.IntN(5)
	o.GroupedQuery = r.Some()
	heads := kvHeads
	if o.GroupedQuery {
		heads *= group
	}
	in := []**attention.Tensor{&c.Inputs.Query, &c.Inputs.Key, &c.Inputs.Value}
	whole := r.Some() // no leading dimension is 1 or absent where others have more
	for i, shape := range [][]int{
		{batch, heads, queries, width}, {batch, kvHeads, keys, width}, {batch, kvHeads, keys, valueWidth},
	} {
		if !whole && i != r.IntN(3) {
			shape[0] = 1
			if r.Some() {
				shape = shape[1:]
			}
		}
		*in[i] = r.Tensor(shape...)
	}
	shape, err := attention.SDPAShape(*in[0], *in[1], *in[2], o.GroupedQuery)
	if err != nil {
		panic(err)
	}
	past := r.past(c)
	r.masks(o, append(slices.Clone(shape[:len(shape)-1]), past+keys))
	r.elements(o, shape, past+keys)
	o.Scale, o.Softcap = Pick(r, 0, 0.3, -0.7), Pick(r, 0, 0, 0.8, 20)
	o.Window, o.ALiBi, o.EmptyRow = Pick(r, 0, 0, 1, 2, 4), r.Some(), Pick(r, attention.EmptyZero, attention.EmptyNaN)
	if r.Some() {
		o.Sinks = r.Tensor(shape[len(shape)-3])
	}
	return c
}

// past draws past keys and values in one of three cases, and returns their number.
func (r Draw) past(c *fixture.Case) int {
	if r.IntN(3) > 0 {
		return 0
	}
	past := r.IntN(4)
	for _, of := range []struct{ fresh, past **attention.Tensor }{
		{&c.Inputs.Key, &c.Options.PastKey}, {&c.Inputs.Value, &c.Options.PastValue},
	} {
		shape := slices.Clone((*of.fresh).Shape)
		shape[len(shape)-2] = past
		*of.past = r.Tensor(shape...)
	}
	return past
}

// elements draws valid lengths and first positions for each batch element of an output
// (B, H, L, Ev).
func (r Draw) elements(o *attention.SDPAOptions, shape []int, keys int) {
	if len(shape) != 4 {
		return
	}
	lengths, positions := r.IntN(3) == 0, o.Causality != attention.LowerRight && r.IntN(3) == 0
	for range shape[0] {
		if lengths {
			o.KeyLengths = append(o.KeyLengths, r.IntN(keys+1))
		}
		if positions {
			o.FirstPositions = append(o.FirstPositions, r.IntN(keys+3)-1)
		}
	}
}

// Rotary draws a case of a rotary embedding, without results.
func (r Draw) Rotary() *fixture.Case {
	c := &fixture.Case{Op: fixture.Rotary}
	o, in := &c.Rotation, &c.Turned
	batch, heads, tokens, width, rows := 1+r.IntN(3), 1+r.IntN(3), 1+r.IntN(5), 2+r.IntN(6), 1+r.IntN(7)
	o.Style = Pick(r, attention.HalfSplit, attention.Interleaved)
	o.Dim = 2 * (1 + r.IntN(width/2))
	in.Input = r.Tensor(batch, heads, tokens, width)
	if r.Some() {
		o.NumHeads, in.Input = heads, r.Tensor(batch, tokens, heads*width)
	}
	table := []int{batch, tokens, o.Dim / 2}
	if r.Some() {
		table = []int{rows, o.Dim / 2}
		for range batch {
			in.Positions = append(in.Positions, nil)
			for range tokens {
				last := &in.Positions[len(in.Positions)-1]
				*last = append(*last, r.IntN(rows))
			}
		}
	}
	in.Cos, in.Sin = r.Tensor(table...), r.Tensor(table...)
	return c
}

// masks draws a causal mask, or a mask or bias that is broadcast to the scores, or none.
func (r Draw) masks(o *attention.SDPAOptions, scores []int) {
	o.Causality = Pick(r, attention.NotCausal, attention.TopLeft, attention.LowerRight)
	if o.Causality != attention.NotCausal {
		return
	}
	masked := slices.Clone(scores)
	for d := range masked {
		if r.IntN(3) == 0 {
			masked[d] = 1
		}
	}
	masked = masked[r.IntN(len(masked)+1):]
	switch r.IntN(3) {
	case 0:
		o.Allow = r.Mask(0.7, masked...)
	case 1:
		o.Bias = r.Bias(masked...)
	}
}

// Layer draws a case of multi-head attention, without results except for the shape of its weights.
func (r Draw) Layer() *fixture.Case {
	c := &fixture.Case{Op: fixture.MultiHead, Layer: r.config()}
	filled, err := attention.New(c.Layer)
	if err != nil {
		panic(err)
	}
	layer := filled.Config()
	r.inputs(c, layer)
	c.State = filled.StateDict()
	for _, name := range slices.Sorted(maps.Keys(c.State)) {
		c.State[name] = r.Tensor(c.State[name].Shape...)
	}
	if layer.NeedWeights != attention.NoWeights {
		out, err := filled.Forward(c.Inputs)
		if err != nil {
			panic(err)
		}
		c.Weights = out.Weights // for its shape
	}
	return c
}

// inputs draws the inputs of a layer: self or cross attention, a KV cache, masks.
func (r Draw) inputs(c *fixture.Case, layer attention.Config) {
	batch, queries := 1+r.IntN(3), 1+r.IntN(5)
	if layer.InputLayout == attention.Unbatched {
		batch = 1
	}
	shape := func(length, width int) []int {
		switch layer.InputLayout {
		case attention.SequenceFirst:
			return []int{length, batch, width}
		case attention.Unbatched:
			return []int{length, width}
		}
		return []int{batch, length, width}
	}
	c.Inputs.Query = r.Tensor(shape(queries, layer.EmbedDim)...)
	c.Inputs.Key, c.Inputs.Value = c.Inputs.Query, c.Inputs.Query
	keys := queries
	if layer.KDim != layer.EmbedDim || layer.VDim != layer.EmbedDim || r.Some() {
		keys = 1 + r.IntN(5)
		c.Inputs.Key, c.Inputs.Value = r.Tensor(shape(keys, layer.KDim)...), r.Tensor(shape(keys, layer.VDim)...)
	}
	if !layer.BiasKV && !layer.ZeroAttn && r.Some() {
		past := r.IntN(4)
		c.Inputs.PastKey = r.Tensor(batch, layer.NumKVHeads, past, layer.HeadDim)
		c.Inputs.PastValue = r.Tensor(batch, layer.NumKVHeads, past, layer.HeadDim)
		keys += past
	}
	masked := Pick(r, []int{queries, keys}, []int{batch * layer.NumHeads, queries, keys})
	if r.IntN(3) == 0 {
		c.Inputs.Block = r.Mask(0.3, masked...)
	}
	if r.IntN(3) == 0 {
		c.Inputs.Bias = r.Bias(masked...)
	}
	if r.IntN(3) == 0 {
		c.Inputs.Padding = r.Mask(0.3, batch, keys)
		if layer.InputLayout == attention.Unbatched {
			c.Inputs.Padding.Shape = []int{keys}
		}
	}
}

// config draws configurations until one is valid.
func (r Draw) config() attention.Config {
	for {
		heads := 1 + r.IntN(6)
		c := attention.Config{
			EmbedDim:          heads * (1 + r.IntN(5)),
			NumHeads:          heads,
			NumKVHeads:        Pick(r, 0, 0, 1, 2, 3),
			HeadDim:           Pick(r, 0, 0, 3, 4, 6),
			KDim:              Pick(r, 0, 0, 5),
			VDim:              Pick(r, 0, 0, 7),
			Bidirectional:     r.Some(),
			WithoutBias:       r.Some(),
			WithoutOutputBias: r.IntN(4) == 0,
			Scale:             Pick(r, 0, 0, 0.4),
			Softcap:           Pick(r, 0, 0, 0.8, 20),
			Window:            Pick(r, 0, 0, 1, 2, 4),
			ALiBi:             r.Some(),
			Sinks:             r.Some(),
			RelativeBias:      Pick(r, 0, 1, 3),
			BiasKV:            r.IntN(4) == 0,
			ZeroAttn:          r.IntN(4) == 0,
			ParamLayout:       attention.ParamLayout(r.IntN(7)),
			Prefix:            Pick(r, "", "a.b."),
			InputLayout:       attention.InputLayout(r.IntN(3)),
			NeedWeights:       attention.NeedWeights(r.IntN(3)),
			EmptyRow:          attention.EmptyRow(r.IntN(2)),
		}
		if r.Some() {
			c.RoPE = &attention.RoPE{
				Style: attention.RoPEStyle(r.IntN(2)), Dim: Pick(r, 0, 2, 4),
				Base: Pick(r, 10., 10000), Factor: Pick(r, 0, 1, 4.),
			}
		}
		if r.Some() {
			c.QKNorm = &attention.QKNorm{Epsilon: Pick(r, 0, 1e-6, 0.5)}
		}
		if r.IntN(3) == 0 { // nothing that depends on positions
			c.RoPE, c.ALiBi, c.RelativeBias, c.Window = nil, false, 0, 0
		}
		if c.Check() == nil {
			return c
		}
	}
}
