package selftest

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/fresh"
	"github.com/difftest/difftest/harness/internal/oracle"
	drawing "github.com/difftest/difftest/harness/internal/random"
	"github.com/difftest/difftest/harness/internal/variant"
)

// drawCase draws case n of a seed. It does not depend on which other cases are drawn.
//
// The case tells many mistakes apart: the batch elements differ, and so do the lengths, the widths
// and the scales that people confuse. Its truth is the oracle's result. A float32 variant computes
// the output that PyTorch gives in other cases.
func drawCase(seed uint64, n int) *fixture.Case {
	d := draw{drawing.Draw{Rand: rand.New(rand.NewPCG(seed, uint64(n)))}}
	kinds := []func() *fixture.Case{d.decoder, d.selfAttention, d.sdpa, d.decoder, d.crossAttention, d.sdpa}
	c := kinds[n%len(kinds)]()
	if n%12 == 11 {
		c = d.rotary()
	}
	c.Precision = fixture.Float32
	setResults(c)
	return c
}

// setResults computes the truth and the float32 output of a case.
func setResults(c *fixture.Case) {
	p := oracle.FromCase(c)
	right := p.Run()
	fresh.SetResult(c, right)
	computed := oracle.Array{Shape: right.Shape, Value: variant.Variant{}.Run(p)}
	for i, v := range oracle.FromBatchFirst(c.Layer.InputLayout, computed).Value {
		c.Output.Data[i] = float32(v)
	}
}

// enlarged returns a case with inputs that are times as large, and with its own results.
func enlarged(c *fixture.Case, times float32) *fixture.Case {
	larger := *c
	in := &larger.Inputs
	scaled := map[*attention.Tensor]*attention.Tensor{} // a query that is the key stays the key
	for _, t := range []**attention.Tensor{&in.Query, &in.Key, &in.Value, &larger.Turned.Input} {
		if *t == nil {
			continue
		}
		if scaled[*t] == nil {
			own := (*t).Clone()
			for i := range own.Data {
				own.Data[i] *= times
			}
			scaled[*t] = own
		}
		*t = scaled[*t]
	}
	setResults(&larger)
	return &larger
}

type draw struct{ drawing.Draw }

// oneIn is true once in n times.
func (d draw) oneIn(n int) bool { return d.IntN(n) == 0 }

func (d draw) between(least, most int) int { return least + d.IntN(most-least+1) }

// headSizes draws a number of heads, a head width and a model width, until the scales that people
// confuse all differ. The sizes are small enough to try all pairs of mistakes.
func (d draw) headSizes(heads []int, width func(heads, e int) int) (h, e, model int) {
	for {
		h, e = drawing.Pick(d.Draw, heads...), 2*d.between(3, 7)
		model = width(h, e)
		if h*e <= 60 && scalesDiffer(h, e, model) {
			return h, e, model
		}
	}
}

// scalesDiffer reports whether the scales that people confuse are at least 2 % apart.
func scalesDiffer(h, e, model int) bool {
	root := math.Sqrt(float64(e))
	scales := []float64{
		1 / root, 1 / math.Sqrt(float64(model)), 1 / float64(e), 1 / math.Sqrt(float64(h)),
		1.0 / 8, math.Ln2 / root, root, 1, 1 / math.Sqrt(float64(model)/float64(h)),
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

// headsOfModel is the model width of a layer whose heads fill it.
func headsOfModel(h, e int) int { return h * e }

// keyCount draws a number of keys that is no multiple of 8 and not just below one.
func (d draw) keyCount() int { return d.between(9, 13) }

// sources tells where the keys and values of a layer come from.
type sources int

const (
	fromQuery  sources = iota
	fromMemory         // one other input
	fromTwo            // two other inputs
)

// selfAttention draws self-attention as in torch.nn.MultiheadAttention, in the parameter layouts of
// several libraries.
func (d draw) selfAttention() *fixture.Case {
	h, _, model := d.headSizes([]int{4, 5, 6}, headsOfModel)
	l := attention.Config{
		EmbedDim: model, NumHeads: h,
		Bidirectional: d.Some(), WithoutBias: d.oneIn(5),
		InputLayout: d.inputLayout(), EmptyRow: attention.EmptyRow(d.IntN(2)),
		ParamLayout: drawing.Pick(d.Draw,
			attention.TorchLayout, attention.TorchLayout, attention.TorchSeparateLayout,
			attention.GPT2Layout, attention.SeedLayout),
	}
	l.WithoutBias = l.WithoutBias || l.ParamLayout == attention.SeedLayout
	if l.ParamLayout == attention.TorchLayout && d.oneIn(3) {
		l.BiasKV, l.ZeroAttn = d.Some(), d.Some()
	}
	length := d.keyCount()
	return d.layer(l, fromQuery, length, length, 0)
}

// crossAttention draws cross-attention as in torch.nn.MultiheadAttention.
func (d draw) crossAttention() *fixture.Case {
	h, _, model := d.headSizes([]int{4, 5, 6}, headsOfModel)
	l := attention.Config{
		EmbedDim: model, NumHeads: h,
		Bidirectional: !d.oneIn(4), WithoutBias: d.oneIn(5),
		InputLayout: d.inputLayout(), EmptyRow: attention.EmptyRow(d.IntN(2)),
	}
	keys := d.keyCount()
	queries, from := keys, drawing.Pick(d.Draw, fromMemory, fromTwo)
	if d.Some() {
		queries = d.between(5, 8)
	}
	if d.oneIn(3) {
		l.KDim, l.VDim = d.between(20, 36), d.between(20, 36)
		from = fromTwo
	}
	if d.oneIn(3) {
		l.BiasKV, l.ZeroAttn = d.Some(), d.Some()
	}
	return d.layer(l, from, queries, keys, 0)
}

// decoder draws a layer as decoders have it, now and then T5's encoder.
func (d draw) decoder() *fixture.Case {
	h, e, model := d.headSizes([]int{6, 6, 10, 4}, func(h, e int) int {
		if d.oneIn(3) {
			return h * e
		}
		return d.between(30, 50)
	})
	l := attention.Config{
		EmbedDim: model, NumHeads: h, HeadDim: e,
		NumKVHeads:  drawing.Pick(d.Draw, 2, 2, h/2, 1, h),
		WithoutBias: d.Some(), WithoutOutputBias: d.oneIn(3),
		ParamLayout: drawing.Pick(d.Draw,
			attention.LlamaLayout, attention.LlamaLayout, attention.NeoXLayout, attention.FusedLayout),
		Bidirectional: d.oneIn(6),
	}
	d.positions(&l)
	if d.oneIn(3) {
		l.QKNorm = &attention.QKNorm{Epsilon: 1e-6}
	}
	if d.oneIn(4) {
		l.Window = d.between(3, 5)
	}
	if d.oneIn(4) {
		l.Softcap = drawing.Pick(d.Draw, 1.5, 2, 5)
	}
	if d.oneIn(4) {
		l.Scale = drawing.Pick(d.Draw, 0.42, 0.66)
	}
	l.Sinks = d.oneIn(4)
	keys, past := d.keyCount(), 0
	if d.Some() {
		past = keys - d.between(3, 5)
	}
	if l.ALiBi && d.oneIn(3) {
		past = keys - 1 // decoding
	}
	return d.layer(l, fromQuery, keys-past, keys-past, past)
}

// positions gives a decoder rotary embeddings, ALiBi, a relative bias, or none of them.
func (d draw) positions(l *attention.Config) {
	switch d.IntN(5) {
	case 0, 1:
		l.RoPE = &attention.RoPE{
			Style:  attention.RoPEStyle(d.IntN(2)),
			Dim:    l.HeadDim,
			Base:   drawing.Pick(d.Draw, 100., 1000, 10000),
			Factor: drawing.Pick(d.Draw, 1., 1, 2, 4),
		}
		if l.HeadDim > 6 && d.Some() {
			l.RoPE.Dim = 6
		}
	case 2:
		l.ALiBi = true
	case 3:
		l.RelativeBias = d.between(3, 5)
	}
}

func (d draw) inputLayout() attention.InputLayout {
	return drawing.Pick(d.Draw, attention.BatchFirst, attention.BatchFirst, attention.SequenceFirst)
}

// layer draws the inputs, masks and parameters of a layer.
func (d draw) layer(l attention.Config, from sources, queries, keys, past int) *fixture.Case {
	made, err := attention.New(l)
	if err != nil {
		panic(err) // one of the functions above is wrong
	}
	c, full, batch := &fixture.Case{Op: fixture.MultiHead, Layer: l}, made.Config(), d.between(3, 5)
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
	init := drawing.Pick(d.Draw, fresh.Scoring, fresh.Scoring, fresh.TorchDefault, fresh.Xavier, fresh.Small, fresh.Unit)
	c.State = made.StateDict()
	for _, name := range slices.Sorted(maps.Keys(c.State)) {
		fresh.Fill(d.Draw, c.State[name], strings.TrimPrefix(name, l.Prefix), init, l.ParamLayout)
	}
	if past > 0 {
		d.cache(in, init, full, batch, past)
	}
	d.layerMasks(c, batch, queries, keys+past)
	return c
}

// cache draws keys and values of past positions, of the size that the projections give.
func (d draw) cache(in *attention.Inputs, init fresh.Initialisation, full attention.Config, batch, past int) {
	width := float64(full.EmbedDim)
	size := fresh.Std(init, full.EmbedDim, full.EmbedDim, "k_proj.weight") * math.Sqrt(width)
	in.PastKey = d.Tensor(batch, full.NumKVHeads, past, full.HeadDim)
	in.PastValue = d.Tensor(batch, full.NumKVHeads, past, full.HeadDim)
	for i := range in.PastKey.Data {
		in.PastKey.Data[i] *= float32(size)
		in.PastValue.Data[i] *= float32(size)
	}
}

// layerMasks hides keys by padding and, in a layer of torch.nn.MultiheadAttention, by another mask.
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

// padding leaves a different number of keys to each batch element. The padding is left or right in
// all of them.
func (d draw) padding(batch, keys int) *attention.Mask {
	lengths := d.Perm(keys - 1)[:batch] // 0 to keys-2, one less than the keys that are left
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

// bias draws an additive mask that hides some keys.
func (d draw) bias(shape ...int) *attention.Tensor {
	t := d.Tensor(shape...)
	for i := range t.Data {
		if d.oneIn(7) {
			t.Data[i] = float32(math.Inf(-1))
		}
	}
	return t
}

// sdpa draws scaled dot-product attention, of three dimensions or four.
func (d draw) sdpa() *fixture.Case {
	h, e, _ := d.headSizes([]int{6, 6, 4, 5}, headsOfModel)
	batch, keys, c := d.between(3, 5), d.keyCount(), &fixture.Case{Op: fixture.SDPA}
	queries, valueWidth := drawing.Pick(d.Draw, keys, d.between(5, 8)), drawing.Pick(d.Draw, e, e+3)
	o, kv := &c.Options, h
	if h == 6 && d.Some() {
		o.GroupedQuery, kv = true, drawing.Pick(d.Draw, 2, 3)
	}
	in := &c.Inputs
	in.Query = d.Tensor(batch, h, queries, e)
	in.Key = d.Tensor(batch, kv, keys, e)
	in.Value = d.Tensor(batch, kv, keys, valueWidth)
	if d.oneIn(6) { // without a batch dimension
		for _, t := range []*attention.Tensor{in.Query, in.Key, in.Value} {
			t.Shape, t.Data = t.Shape[1:], t.Data[:len(t.Data)/batch]
		}
	}
	o.EmptyRow, o.ALiBi = attention.EmptyRow(d.IntN(2)), d.oneIn(5)
	if d.oneIn(3) {
		o.Scale = drawing.Pick(d.Draw, 0.42, 0.66)
	}
	if d.oneIn(4) {
		o.Softcap = drawing.Pick(d.Draw, 1.5, 2, 5)
	}
	if d.oneIn(5) {
		o.Window = d.between(3, 5)
	}
	if d.oneIn(5) {
		o.Sinks = d.Tensor(h)
	}
	d.sdpaMasks(c, queries, keys)
	if len(in.Query.Shape) == 4 && d.oneIn(3) {
		d.place(c, queries, keys)
	}
	return c
}

// place makes the first keys a past, gives each batch element its own number of valid keys, or lets
// its queries stand elsewhere.
func (d draw) place(c *fixture.Case, queries, keys int) {
	in, o := &c.Inputs, &c.Options
	kind, past := d.IntN(3), d.between(2, 4)
	if kind == 0 || d.oneIn(2) {
		o.PastKey, in.Key = cut(in.Key, past)
		o.PastValue, in.Value = cut(in.Value, past)
	}
	for range in.Query.Shape[0] {
		switch {
		case kind == 1:
			o.KeyLengths = append(o.KeyLengths, d.between(2, keys))
		case kind == 2 && o.Causality != attention.LowerRight:
			o.FirstPositions = append(o.FirstPositions, d.IntN(max(1, keys-queries+2)))
		}
	}
}

// cut divides x, (B, Hk, T, E), into its first tokens and the others.
func cut(x *attention.Tensor, tokens int) (first, rest *attention.Tensor) {
	shape := x.Shape
	first = attention.NewTensor(shape[0], shape[1], tokens, shape[3])
	rest = attention.NewTensor(shape[0], shape[1], shape[2]-tokens, shape[3])
	for n := range shape[0] * shape[1] {
		whole := x.Data[n*shape[2]*shape[3]:][:shape[2]*shape[3]]
		copy(first.Data[n*tokens*shape[3]:], whole[:tokens*shape[3]])
		copy(rest.Data[n*(shape[2]-tokens)*shape[3]:], whole[tokens*shape[3]:])
	}
	return first, rest
}

// rotary draws a rotation by the tables of cosines and sines of random angles.
func (d draw) rotary() *fixture.Case {
	c := &fixture.Case{Op: fixture.Rotary}
	batch, heads, tokens, width, rows := d.between(3, 5), d.between(2, 5), d.between(5, 9), 2*d.between(3, 7), 25
	c.Rotation.Dim = drawing.Pick(d.Draw, 4, width)
	c.Rotation.Style = drawing.Pick(d.Draw, attention.HalfSplit, attention.Interleaved)
	in := &c.Turned
	in.Input = d.Tensor(batch, heads, tokens, width)
	if d.Some() {
		c.Rotation.NumHeads, in.Input.Shape = heads, []int{batch, tokens, heads * width}
	}
	table := []int{rows, c.Rotation.Dim / 2}
	if d.oneIn(3) {
		table = []int{batch, tokens, c.Rotation.Dim / 2}
	} else {
		for range batch {
			in.Positions = append(in.Positions, d.Perm(rows)[:tokens])
		}
	}
	in.Cos, in.Sin = attention.NewTensor(table...), attention.NewTensor(table...)
	for i := range in.Cos.Data {
		s, c := math.Sincos(2 * math.Pi * d.Float64())
		in.Cos.Data[i], in.Sin.Data[i] = float32(c), float32(s)
	}
	return c
}

// sdpaMasks gives a case a mask, of a shape that broadcasts, or makes it causal, or neither.
func (d draw) sdpaMasks(c *fixture.Case, queries, keys int) {
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
