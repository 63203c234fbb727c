package oracle

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/num"
)

// FromCase lays a validated case open. It must not be a module's: of that only the results are known.
func FromCase(c *fixture.Case) *Problem {
	p := &Problem{EmptyRow: c.EmptyRow(), Precision: precisionOf(c)}
	p.Query, p.Key, p.Value = given(c, "query", c.Inputs.Query), given(c, "key", c.Inputs.Key), given(c, "value", c.Inputs.Value)
	if c.Op == fixture.SDPA {
		p.fromFunction(c)
	} else {
		p.fromLayer(c)
	}
	return p
}

// given is an input as the case has it, in float64 where that is its precision.
func given(c *fixture.Case, role string, t *attention.Tensor) Array {
	if values, ok := c.Unrounded[role]; ok {
		return Array{t.Shape, values}
	}
	return array(t)
}

func array(t *attention.Tensor) Array { return Array{t.Shape, t.Float64s()} }

// topLeft is the causal mask: a query sees its own position and those before.
func topLeft(query, key int) bool { return key <= query }

func (p *Problem) fromFunction(c *fixture.Case) {
	o := c.Options
	p.broadcastInputs(o.GroupedQuery)
	if o.Causality != attention.NotCausal {
		p.Causal = topLeft
	}
	if o.Causality == attention.LowerRight {
		p.Offset = p.Key.Shape[len(p.Key.Shape)-2] - p.Query.Shape[len(p.Query.Shape)-2]
	}
	p.Allow, p.Scale, p.Softcap, p.Window = o.Allow, o.Scale, o.Softcap, o.Window
	if o.Bias != nil {
		bias := given(c, "bias", o.Bias)
		p.Bias = &bias
	}
	if p.Scale == 0 {
		p.Scale = 1 / math.Sqrt(float64(num.Last(p.Query.Shape)))
	}
	if o.ALiBi {
		p.Slopes = slopes(p.heads())
	}
	if o.Sinks != nil {
		p.Sinks = o.Sinks.Float64s()
	}
}

// broadcastInputs repeats query, key and value until their leading dimensions are the same, but for
// the number of heads where query heads share those of key and value.
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
		*in = Array{target, spread(in.Value, in.Shape, target)}
	}
}

// spread repeats data along the dimensions in which shape is 1 or absent, aligned from the
// right, one dimension after the other.
func spread(data []float64, shape, target []int) []float64 {
	full := make([]int, len(target))
	for d := range full {
		full[d] = 1
		if back := len(target) - d; back <= len(shape) {
			full[d] = shape[len(shape)-back]
		}
	}
	for d := range target {
		if full[d] != target[d] {
			data = repeat(data, num.Size(full[d+1:]), target[d])
			full[d] = target[d]
		}
	}
	return data
}

// repeat writes each block of the given length times over.
func repeat(data []float64, block, times int) []float64 {
	out := make([]float64, 0, len(data)*times)
	for at := 0; at < len(data); at += block {
		for range times {
			out = append(out, data[at:at+block]...)
		}
	}
	return out
}

// slopes are ALiBi's, in the words of its authors' code: a power of two has a geometric series;
// any other number has that of the power below and every second of the power above.
func slopes(heads int) []float64 {
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

func (p *Problem) fromLayer(c *fixture.Case) {
	config := c.Layer
	heads := config.NumHeads
	p.Layer = layer(config, c.State)
	p.batchFirst(config.InputLayout)
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
	p.setRotation(config.RoPE, width)
	if config.ALiBi {
		p.Slopes = slopes(heads)
	}
	if config.Sinks {
		p.Sinks = c.State[config.Prefix+"sinks"].Float64s()
	}
	if config.RelativeBias > 0 {
		p.Relative = c.State[config.Prefix+"relative_bias.weight"].Float64s()
	}
}

// batchFirst brings inputs of another order into (B, T, width).
func (p *Problem) batchFirst(o attention.InputLayout) {
	for _, in := range []*Array{&p.Query, &p.Key, &p.Value} {
		*in = BatchFirst(o, *in)
	}
}

// BatchFirst is an array of a layer in the order (B, T, width), whatever order it stands in.
func BatchFirst(o attention.InputLayout, a Array) Array {
	switch o {
	case attention.Unbatched:
		return Array{append([]int{1}, a.Shape...), a.Value}
	case attention.SequenceFirst:
		return Array{[]int{a.Shape[1], a.Shape[0], a.Shape[2]}, firstTwoSwapped(a.Shape, a.Value)}
	}
	return a
}

// InLayout is an array (B, T, width) in a layer's own order.
func InLayout(o attention.InputLayout, a Array) Array {
	if o == attention.Unbatched {
		return Array{a.Shape[1:], a.Value}
	}
	return BatchFirst(o, a) // exchanging two dimensions is its own reverse
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

// setMasks takes over a layer's masks; those of (B*H, L, S) are (B, H, L, S) of the scores.
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

func (p *Problem) setRotation(r *attention.RoPE, width int) {
	if r == nil {
		return
	}
	t := Turn{Interleaved: r.Style == attention.Interleaved, Dim: r.Dim, Base: r.Base, Factor: r.Factor, First: p.Offset}
	if t.Dim == 0 {
		t.Dim = width
	}
	if t.Factor == 0 {
		t.Factor = 1
	}
	query, key := t, t
	p.Layer.QueryTurn, p.Layer.KeyTurn = &query, &key
}
