package oracle

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/num"
)

// FromCase returns the problem of a validated case, which must not be a fixture.Module case: only
// the results of a module are known.
func FromCase(c *fixture.Case) *Problem {
	if c.Op == fixture.Rotary {
		return turnOf(c)
	}
	p := &Problem{EmptyRow: c.EmptyRow(), Precision: precisionOf(c)}
	p.Query = input(c, "query", c.Inputs.Query)
	p.Key = input(c, "key", c.Inputs.Key)
	p.Value = input(c, "value", c.Inputs.Value)
	if c.Op == fixture.SDPA {
		p.setOptions(c)
	} else {
		p.setLayer(c)
	}
	return p
}

// input returns an input as the case has it: unrounded if the case is a float64 one.
func input(c *fixture.Case, role string, t *attention.Tensor) Array {
	if values, ok := c.Unrounded[role]; ok {
		return Array{t.Shape, values}
	}
	return array(t)
}

func array(t *attention.Tensor) Array { return Array{t.Shape, t.Float64s()} }

// topLeft is the causal mask: a query sees its own position and all earlier ones.
func topLeft(query, key int) bool { return key <= query }

// setOptions takes over the options of scaled dot-product attention.
func (p *Problem) setOptions(c *fixture.Case) {
	o := c.Options
	p.broadcastInputs(o.GroupedQuery)
	if o.PastKey != nil {
		p.Past = &Past{
			p.broadcastPast(p.Key, input(c, "past_key", o.PastKey)),
			p.broadcastPast(p.Value, input(c, "past_value", o.PastValue)),
		}
	}
	p.setPositions(o)
	p.Allow, p.Scale, p.Softcap, p.Window = o.Allow, o.Scale, o.Softcap, o.Window
	if o.Bias != nil {
		bias := input(c, "bias", o.Bias)
		p.Bias = &bias
	}
	if p.Scale == 0 {
		p.Scale = 1 / math.Sqrt(float64(num.Last(p.Query.Shape)))
	}
	if o.ALiBi {
		p.Slopes = alibiSlopes(p.heads())
	}
	if o.Sinks != nil {
		p.Sinks = o.Sinks.Float64s()
	}
}

// setPositions sets what hides keys by position, and where queries stand. The last query stands at
// the last valid key under lower-right causality.
func (p *Problem) setPositions(o attention.SDPAOptions) {
	if o.Causality != attention.NotCausal {
		p.Causal = topLeft
	}
	queries, keys := p.Query.Shape[len(p.Query.Shape)-2], num.Last(p.scores())
	p.Offset = p.pastLength()
	if o.Causality == attention.LowerRight {
		p.Offset = keys - queries
	}
	if o.FirstPositions != nil {
		p.Offset, p.Offsets = 0, o.FirstPositions
	}
	if o.KeyLengths == nil {
		return
	}
	padding := attention.Mask{Shape: []int{len(o.KeyLengths), keys}}
	for _, length := range o.KeyLengths {
		for j := range keys {
			padding.Data = append(padding.Data, j >= length)
		}
		if o.Causality == attention.LowerRight {
			p.Offset, p.Offsets = 0, append(p.Offsets, length-queries)
		}
	}
	p.Padding = &padding
}

// broadcastPast repeats cached keys or values as broadcastInputs repeated the new ones, which have
// the same leading dimensions.
func (p *Problem) broadcastPast(fresh, past Array) Array {
	dims := len(fresh.Shape)
	past.Shape = append(slices.Repeat([]int{1}, dims-len(past.Shape)), past.Shape...)
	target := append(slices.Clone(fresh.Shape[:dims-2]), past.Shape[dims-2:]...)
	return Array{target, broadcastTo(target, past.Value, past.Shape)}
}

// broadcastInputs repeats query, key and value until their leading dimensions agree. With grouped
// heads, key and value keep their own number of heads.
func (p *Problem) broadcastInputs(grouped bool) {
	inputs := []*Array{&p.Query, &p.Key, &p.Value}
	dims := max(len(p.Query.Shape), len(p.Key.Shape), len(p.Value.Shape))
	lead := slices.Repeat([]int{1}, dims-2)
	for _, in := range inputs {
		in.Shape = append(slices.Repeat([]int{1}, dims-len(in.Shape)), in.Shape...)
		for d := range lead {
			lead[d] = max(lead[d], in.Shape[d])
		}
	}
	for _, in := range inputs {
		target := append(slices.Clone(lead), in.Shape[dims-2:]...)
		if grouped {
			target[dims-3] = in.Shape[dims-3]
		}
		*in = Array{target, broadcastTo(target, in.Value, in.Shape)}
	}
}

// broadcastTo repeats data of the given shape along every dimension of 1 in which target is
// larger. The shapes have the same number of dimensions.
func broadcastTo(target []int, data []float64, shape []int) []float64 {
	full := slices.Clone(shape)
	for d := range target {
		if full[d] != target[d] {
			data = repeat(data, num.Size(full[d+1:]), target[d])
			full[d] = target[d]
		}
	}
	return data
}

// repeat writes each block of the given length several times.
func repeat(data []float64, block, times int) []float64 {
	out := make([]float64, 0, len(data)*times)
	for at := 0; at < len(data); at += block {
		for range times {
			out = append(out, data[at:at+block]...)
		}
	}
	return out
}

// alibiSlopes returns the slopes of ALiBi, as its authors' code has them. A power of two gives a
// geometric series. Any other number of heads takes the series of the power of two below, followed
// by every second slope of the power above.
func alibiSlopes(heads int) []float64 {
	var series func(n int) []float64
	series = func(n int) []float64 {
		if n&(n-1) == 0 {
			start := math.Pow(2, -8/float64(n))
			list := []float64{start}
			for len(list) < n {
				list = append(list, list[len(list)-1]*start)
			}
			return list
		}
		below := int(math.Pow(2, math.Floor(math.Log2(float64(n)))))
		list, above := series(below), series(2*below)
		for i := 0; len(list) < n; i += 2 {
			list = append(list, above[i])
		}
		return list
	}
	return series(heads)
}

// setLayer takes over the configuration, the parameters and the masks of a layer.
func (p *Problem) setLayer(c *fixture.Case) {
	config := c.Layer
	heads := config.NumHeads
	p.Layer = layerOf(config, c.State)
	for _, in := range []*Array{&p.Query, &p.Key, &p.Value} {
		*in = ToBatchFirst(config.InputLayout, *in)
	}
	width := p.Layer.Query.Out / heads
	p.Scale, p.Softcap, p.Window = config.Scale, config.Softcap, config.Window
	if p.Scale == 0 {
		p.Scale = 1 / math.Sqrt(float64(width))
	}
	if !config.Bidirectional {
		p.Causal = topLeft
	}
	if past := c.Inputs.PastKey; past != nil {
		p.Past = &Past{array(past), array(c.Inputs.PastValue)}
		p.Offset = past.Shape[2]
	}
	p.setMasks(c.Inputs)
	p.setRotary(config.RoPE, width)
	if config.ALiBi {
		p.Slopes = alibiSlopes(heads)
	}
	if config.Sinks {
		p.Sinks = c.State[config.Prefix+"sinks"].Float64s()
	}
	if config.RelativeBias > 0 {
		p.Relative = c.State[config.Prefix+"relative_bias.weight"].Float64s()
	}
}

// ToBatchFirst converts an array of a layer's own layout to (B, T, width).
func ToBatchFirst(layout attention.InputLayout, a Array) Array {
	switch layout {
	case attention.Unbatched:
		return Array{append([]int{1}, a.Shape...), a.Value}
	case attention.SequenceFirst:
		return Array{[]int{a.Shape[1], a.Shape[0], a.Shape[2]}, firstTwoSwapped(a.Shape, a.Value)}
	}
	return a
}

// FromBatchFirst converts an array (B, T, width) to a layer's own layout.
func FromBatchFirst(layout attention.InputLayout, a Array) Array {
	if layout == attention.Unbatched {
		return Array{a.Shape[1:], a.Value}
	}
	return ToBatchFirst(layout, a) // swapping two dimensions is its own inverse
}

func firstTwoSwapped(shape []int, values []float64) []float64 {
	out := make([]float64, 0, len(values))
	for second := range shape[1] {
		for first := range shape[0] {
			out = append(out, values[(first*shape[1]+second)*shape[2]:][:shape[2]]...)
		}
	}
	return out
}

// setMasks takes over a layer's masks. PyTorch's (B*H, L, S) becomes (B, H, L, S).
func (p *Problem) setMasks(in attention.Inputs) {
	scores := p.scores()
	if in.Block != nil {
		p.Block = &attention.Mask{Shape: perHead(in.Block.Shape, scores), Data: in.Block.Data}
	}
	if in.Bias != nil {
		p.Bias = &Array{perHead(in.Bias.Shape, scores), in.Bias.Float64s()}
	}
	if in.Padding != nil {
		p.Padding = &attention.Mask{Shape: []int{scores[0], num.Last(scores)}, Data: in.Padding.Data}
	}
}

func perHead(shape, scores []int) []int {
	if len(shape) == 3 {
		return scores
	}
	return shape
}

func (p *Problem) setRotary(r *attention.RoPE, width int) {
	if r == nil {
		return
	}
	t := Rotary{
		Interleaved: r.Style == attention.Interleaved, Dim: r.Dim, Base: r.Base, Factor: r.Factor, First: p.Offset,
	}
	if t.Dim == 0 {
		t.Dim = width
	}
	if t.Factor == 0 {
		t.Factor = 1
	}
	query, key := t, t
	p.Layer.QueryRotary, p.Layer.KeyRotary = &query, &key
}
