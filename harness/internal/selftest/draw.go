package selftest

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	drawing "github.com/difftest/difftest/harness/internal/random"
	"github.com/difftest/difftest/harness/internal/variant"
)

// drawCase gives case n of a seed, whatever else is drawn. It is informative: batch elements, lengths, widths
// and the scales that people mistake for one another are all different.
//
// Its truth is the oracle's, and in the place of PyTorch's float32 result stands that of a variant.
func drawCase(seed uint64, n int) *fixture.Case {
	d := draw{drawing.Draw{Rand: rand.New(rand.NewPCG(seed, uint64(n)))}}
	kinds := []func() *fixture.Case{d.decoder, d.self, d.function, d.decoder, d.memory, d.function}
	c := kinds[n%len(kinds)]()
	c.Precision = fixture.Float32
	setResults(c)
	return c
}

// setResults fills in what PyTorch would say.
func setResults(c *fixture.Case) {
	p := oracle.FromCase(c)
	truth := inOrder(c, p.Run().Expected())
	output := inOrder(c, withValues(p.Run().Expected(), variant.Variant{}.Run(p)))
	c.Truth, c.Output = truth.Value, attention.NewTensor(truth.Shape...)
	for i, v := range output.Value {
		c.Output.Data[i] = float32(v)
	}
}

// enlarged is a case with inputs times as large, and its own results.
func enlarged(c *fixture.Case, times float32) *fixture.Case {
	larger := *c
	in := &larger.Inputs
	shared := map[*attention.Tensor]*attention.Tensor{} // a query that is the key stays the key
	for _, t := range []**attention.Tensor{&in.Query, &in.Key, &in.Value} {
		if shared[*t] == nil {
			scaled := (*t).Clone()
			for i := range scaled.Data {
				scaled.Data[i] *= times
			}
			shared[*t] = scaled
		}
		*t = shared[*t]
	}
	setResults(&larger)
	return &larger
}

type draw struct{ drawing.Draw }

func (d draw) oneOf(n int) bool { return d.IntN(n) == 0 }

func (d draw) between(least, most int) int { return least + d.IntN(most-least+1) }

// sizes are those of heads in which no two of the scales that are mistaken for one another are close. They
// are small enough for all pairs of mistakes to be made.
func (d draw) sizes(heads []int, width func(heads, e int) int) (h, e, model int) {
	for {
		h, e = drawing.Pick(d.Draw, heads...), 2*d.between(3, 7)
		model = width(h, e)
		if h*e <= 60 && apart(h, e, model) {
			return h, e, model
		}
	}
}

// apart says whether scales of these sizes are 2 % apart, pairwise.
func apart(h, e, model int) bool {
	root := math.Sqrt(float64(e))
	scales := []float64{
		1 / root, 1 / math.Sqrt(float64(model)), 1 / float64(e), 1 / math.Sqrt(float64(h)), 1.0 / 8, math.Ln2 / root, root, 1,
		1 / math.Sqrt(float64(model)/float64(h)),
	}
	if h*e == model {
		scales = scales[:len(scales)-1] // the same as the first
	}
	slices.Sort(scales)
	for i := range scales[1:] {
		if scales[i+1] < 1.02*scales[i] {
			return false
		}
	}
	return true
}

// keys is a number of keys that a tile of 8 does not divide, nor nearly.
func (d draw) keys() int { return d.between(9, 13) }

// sources says where keys and values come from.
type sources int

const (
	fromQuery sources = iota
	fromMemory
	fromTwo // a key and a value of their own
)

// self is self-attention as in torch.nn.MultiheadAttention, under the names of several libraries.
func (d draw) self() *fixture.Case {
	h, _, model := d.sizes([]int{4, 5, 6}, func(h, e int) int { return h * e })
	l := attention.Config{
		EmbedDim: model, NumHeads: h, Bidirectional: d.Some(), WithoutBias: d.oneOf(5), InputLayout: d.order(), EmptyRow: attention.EmptyRow(d.IntN(2)),
		ParamLayout: drawing.Pick(d.Draw, attention.TorchLayout, attention.TorchLayout, attention.TorchSeparateLayout, attention.GPT2Layout, attention.SeedLayout),
	}
	l.WithoutBias = l.WithoutBias || l.ParamLayout == attention.SeedLayout
	if l.ParamLayout == attention.TorchLayout && d.oneOf(3) {
		l.BiasKV, l.ZeroAttn = d.Some(), d.Some()
	}
	length := d.keys()
	return d.layer(l, fromQuery, length, length, 0)
}

// memory is cross-attention as in torch.nn.MultiheadAttention.
func (d draw) memory() *fixture.Case {
	h, _, model := d.sizes([]int{4, 5, 6}, func(h, e int) int { return h * e })
	l := attention.Config{EmbedDim: model, NumHeads: h, Bidirectional: !d.oneOf(4), WithoutBias: d.oneOf(5), InputLayout: d.order(), EmptyRow: attention.EmptyRow(d.IntN(2))}
	keys := d.keys()
	queries, from := keys, drawing.Pick(d.Draw, fromMemory, fromTwo)
	if d.Some() {
		queries = d.between(5, 8)
	}
	if d.oneOf(3) {
		l.KDim, l.VDim = d.between(20, 36), d.between(20, 36)
		from = fromTwo
	}
	if d.oneOf(3) {
		l.BiasKV, l.ZeroAttn = d.Some(), d.Some()
	}
	return d.layer(l, from, queries, keys, 0)
}

// decoder is a layer as decoders have it, now and then T5's encoder.
func (d draw) decoder() *fixture.Case {
	h, e, model := d.sizes([]int{6, 6, 10, 4}, func(h, e int) int {
		if d.oneOf(3) {
			return h * e
		}
		return d.between(30, 50)
	})
	l := attention.Config{
		EmbedDim: model, NumHeads: h, HeadDim: e, NumKVHeads: drawing.Pick(d.Draw, 2, 2, h/2, 1, h), WithoutBias: d.Some(), WithoutOutputBias: d.oneOf(3),
		ParamLayout: drawing.Pick(d.Draw, attention.LlamaLayout, attention.LlamaLayout, attention.NeoXLayout, attention.FusedLayout), Bidirectional: d.oneOf(6),
	}
	switch d.IntN(5) {
	case 0, 1:
		l.RoPE = &attention.RoPE{Style: attention.RoPEStyle(d.IntN(2)), Dim: e, Base: drawing.Pick(d.Draw, 100., 1000, 10000), Factor: drawing.Pick(d.Draw, 1., 1, 2, 4)}
		if e > 6 && d.Some() {
			l.RoPE.Dim = 6
		}
	case 2:
		l.ALiBi = true
	case 3:
		l.RelativeBias = d.between(3, 5)
	}
	if d.oneOf(3) {
		l.QKNorm = &attention.QKNorm{Epsilon: 1e-6}
	}
	if d.oneOf(4) {
		l.Window = d.between(3, 5)
	}
	if d.oneOf(4) {
		l.Softcap = drawing.Pick(d.Draw, 1.5, 2, 5)
	}
	if d.oneOf(4) {
		l.Scale = drawing.Pick(d.Draw, 0.42, 0.66)
	}
	l.Sinks = d.oneOf(4)
	keys, past := d.keys(), 0
	if d.Some() {
		past = keys - d.between(3, 5)
	}
	if l.ALiBi && d.oneOf(3) {
		past = keys - 1 // decoding
	}
	return d.layer(l, fromQuery, keys-past, keys-past, past)
}

func (d draw) order() attention.InputLayout {
	return drawing.Pick(d.Draw, attention.BatchFirst, attention.BatchFirst, attention.SequenceFirst)
}

// layer fills in inputs, masks and parameters.
func (d draw) layer(l attention.Config, from sources, queries, keys, past int) *fixture.Case {
	filled, err := attention.New(l)
	if err != nil {
		panic(err) // a mistake of the functions above
	}
	c, full, batch := &fixture.Case{Op: fixture.MultiHead, Layer: l}, filled.Config(), d.between(3, 5)
	in := &c.Inputs
	input := func(length, width int) *attention.Tensor {
		if l.InputLayout == attention.SequenceFirst {
			return d.Tensor(length, batch, width)
		}
		return d.Tensor(batch, length, width)
	}
	in.Query = input(queries, full.EmbedDim)
	in.Key, in.Value = in.Query, in.Query
	if from != fromQuery {
		in.Key = input(keys, full.KDim)
		in.Value = in.Key
	}
	if from == fromTwo {
		in.Value = input(keys, full.VDim)
	}
	init := drawing.Pick(d.Draw, scoring, scoring, torchDefault, xavier, small, unit)
	c.State = filled.StateDict()
	for _, name := range slices.Sorted(maps.Keys(c.State)) {
		t := c.State[name]
		d.fill(t, strings.TrimPrefix(name, l.Prefix), init, l.ParamLayout == attention.GPT2Layout)
	}
	if past > 0 {
		size := std(init, full.EmbedDim, full.EmbedDim, "k_proj.weight") * math.Sqrt(float64(full.EmbedDim))
		in.PastKey, in.PastValue = d.Tensor(batch, full.NumKVHeads, past, full.HeadDim), d.Tensor(batch, full.NumKVHeads, past, full.HeadDim)
		for i := range in.PastKey.Data {
			in.PastKey.Data[i] *= float32(size)
			in.PastValue.Data[i] *= float32(size)
		}
	}
	d.layerMasks(c, batch, queries, keys+past)
	return c
}

// layerMasks hides keys: by padding, and by a mask of one kind.
func (d draw) layerMasks(c *fixture.Case, batch, queries, keys int) {
	in, l := &c.Inputs, c.Layer
	if d.IntN(3) > 0 {
		in.Padding = d.padding(batch, keys)
	}
	if l.ParamLayout != attention.TorchLayout && l.ParamLayout != attention.TorchSeparateLayout {
		return
	}
	shape := drawing.Pick(d.Draw, []int{queries, keys}, []int{batch * l.NumHeads, queries, keys})
	switch d.IntN(5) {
	case 0:
		in.Block = d.Mask(0.3, shape...)
	case 1:
		in.Bias = d.bias(shape...)
	}
}

// padding leaves each batch element another number of keys, the first less than all, on one side.
func (d draw) padding(batch, keys int) *attention.Mask {
	lengths := d.Perm(keys - 1)[:batch] // 0 to keys-2
	if whole := 1 + d.IntN(batch-1); d.Some() {
		lengths[whole] = keys - 1
	}
	m, left := attention.NewMask(batch, keys), d.Some()
	for b, n := range lengths {
		for j := range keys {
			m.Data[b*keys+j] = !left && j > n || left && j < keys-1-n
		}
	}
	return m
}

// bias is a float mask that hides some keys.
func (d draw) bias(shape ...int) *attention.Tensor {
	t := d.Tensor(shape...)
	for i := range t.Data {
		if d.oneOf(7) {
			t.Data[i] = float32(math.Inf(-1))
		}
	}
	return t
}

// initialisation is how the weights of a layer came about.
type initialisation int

const (
	scoring      initialisation = iota // scores of a standard deviation near 1
	torchDefault                       // torch.nn.Linear's
	xavier                             // torch.nn.init.xavier_normal_
	small                              // N(0, 0.02²)
	unit                               // N(0,1)
)

// std is the standard deviation of a weight (out, in).
func std(init initialisation, in, out int, name string) float64 {
	linear := 1 / math.Sqrt(3*float64(in))
	switch init {
	case scoring:
		if strings.Contains(name, "out") || strings.HasPrefix(name, "o_proj") || strings.HasPrefix(name, "v_") || name == "W_V" || name == "W_O" {
			return linear
		}
		return 1 / math.Sqrt(float64(in))
	case xavier:
		return math.Sqrt(2 / float64(in+out))
	case small:
		return 0.02
	case unit:
		return 1
	}
	return linear
}

// fill draws a parameter. No bias is zero, which would hide every mistake that is made of one.
func (d draw) fill(t *attention.Tensor, name string, init initialisation, transposed bool) {
	var size, mean float64
	switch {
	case strings.HasSuffix(name, "norm.weight"):
		size, mean = 0.3, 1
	case name == "sinks":
		size = 1
	case name == "relative_bias.weight":
		size = 0.5
	case name == "bias_k", name == "bias_v":
		size = std(init, t.Shape[2], t.Shape[2], name) * math.Sqrt(float64(t.Shape[2]))
	case len(t.Shape) == 1:
		size = map[initialisation]float64{small: 0.02, unit: 1}[init]
		if size == 0 {
			size = 0.1
		}
	default:
		in, out := t.Shape[1], t.Shape[0]
		if transposed {
			in, out = out, in
		}
		size = std(init, in, out, name)
	}
	for i := range t.Data {
		t.Data[i] = float32(mean + size*d.NormFloat64())
	}
}

// function is scaled dot-product attention, of three dimensions or four.
func (d draw) function() *fixture.Case {
	h, e, _ := d.sizes([]int{6, 6, 4, 5}, func(h, e int) int { return h * e })
	batch, keys, c := d.between(3, 5), d.keys(), &fixture.Case{Op: fixture.SDPA}
	queries, valueWidth := drawing.Pick(d.Draw, keys, d.between(5, 8)), drawing.Pick(d.Draw, e, e+3)
	o, kv := &c.Options, h
	if h == 6 && d.Some() {
		o.GroupedQuery, kv = true, drawing.Pick(d.Draw, 2, 3)
	}
	c.Inputs.Query, c.Inputs.Key, c.Inputs.Value = d.Tensor(batch, h, queries, e), d.Tensor(batch, kv, keys, e), d.Tensor(batch, kv, keys, valueWidth)
	if d.oneOf(6) { // without a batch
		for _, t := range []*attention.Tensor{c.Inputs.Query, c.Inputs.Key, c.Inputs.Value} {
			t.Shape, t.Data = t.Shape[1:], t.Data[:len(t.Data)/batch]
		}
	}
	o.EmptyRow, o.ALiBi = attention.EmptyRow(d.IntN(2)), d.oneOf(5)
	if d.oneOf(3) {
		o.Scale = drawing.Pick(d.Draw, 0.42, 0.66)
	}
	if d.oneOf(4) {
		o.Softcap = drawing.Pick(d.Draw, 1.5, 2, 5)
	}
	if d.oneOf(5) {
		o.Window = d.between(3, 5)
	}
	if d.oneOf(5) {
		o.Sinks = d.Tensor(h)
	}
	d.functionMasks(c, queries, keys)
	return c
}

// functionMasks gives it a mask, of a shape that is broadcast, or makes it causal, or neither.
func (d draw) functionMasks(c *fixture.Case, queries, keys int) {
	o, lead := &c.Options, c.Inputs.Query.Shape[:len(c.Inputs.Query.Shape)-2]
	whole := append(slices.Clone(lead), queries, keys)
	perHead := whole[len(whole)-3:]
	shape := drawing.Pick(d.Draw, whole[len(whole)-2:], perHead, whole)
	switch d.IntN(5) {
	case 0, 1:
		o.Allow = d.Mask(0.6, shape...)
	case 2:
		o.Bias = d.bias(shape...)
	case 3:
		o.Causality = drawing.Pick(d.Draw, attention.TopLeft, attention.LowerRight)
	}
}
