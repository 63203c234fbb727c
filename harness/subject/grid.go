package subject

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/fixture"
)

// grid says where the rows of a case's output and the tokens of its inputs stand. Groups are the
// batch elements of a layer, and of a function every place in the dimensions before the last two.
// Keys are counted with those of a cache, which come first.
type grid struct {
	c                           *fixture.Case
	lead                        []int // of the output, before rows and features
	groups, queries, keys, past int
}

// gridOf says false where a case has no inputs that are known, as that of a module.
func gridOf(c *fixture.Case) (grid, bool) {
	in := c.Inputs
	if in.Query == nil || in.Key == nil || in.Value == nil {
		return grid{}, false
	}
	g := grid{c: c}
	if c.Op == fixture.SDPA {
		shape, dims := c.Output.Shape, len(c.Output.Shape)
		g.lead, g.queries = shape[:dims-2], shape[dims-2]
		g.keys = in.Key.Shape[len(in.Key.Shape)-2]
		g.groups = product(g.lead)
		return g, true
	}
	g.groups, g.queries = lengths(c.Layer.Order, in.Query.Shape)
	_, g.keys = lengths(c.Layer.Order, in.Key.Shape)
	if in.PastKey != nil {
		g.past = in.PastKey.Shape[2]
		g.keys += g.past
	}
	g.lead = []int{g.groups}
	return g, true
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// lengths are batch and length of an input of a layer.
func lengths(o attention.Order, shape []int) (batch, length int) {
	switch o {
	case attention.Unbatched:
		return 1, shape[0]
	case attention.SequenceFirst:
		return shape[1], shape[0]
	}
	return shape[0], shape[1]
}

// row is that of query i of group n in an output.
func (g grid) row(out *attention.Tensor, n, i int) []float32 {
	return g.token(out, n, i, g.groups, g.queries)
}

// token is place t of group n in a tensor of so many groups and places.
func (g grid) token(x *attention.Tensor, n, t, groups, length int) []float32 {
	width := len(x.Data) / (groups * length)
	at := n*length + t
	if g.c.Op == fixture.MultiHead && g.c.Layer.Order == attention.SequenceFirst {
		at = t*groups + n
	}
	return x.Data[at*width:][:width]
}

// negateKey turns the sign of key or value j of every group; j is no cached one.
func (g grid) negateKey(x *attention.Tensor, j int) {
	length := g.keys - g.past
	groups := g.groups
	if g.c.Op == fixture.SDPA {
		groups = product(x.Shape[:len(x.Shape)-2]) // those that are broadcast stand once
	}
	for n := range groups {
		negate(g.token(x, n, j-g.past, groups, length))
	}
}

func negate(values []float32) {
	for i := range values {
		values[i] = -values[i]
	}
}

// screen hides keys from queries: a mask of one kind.
type screen struct {
	id, name string
	hides    func(n, i, j int) bool      // query i of group n, key j, in every head
	lift     func(without *fixture.Case) // takes the screen off a copy of the case
}

// screens are those that the case has.
func (g grid) screens() []screen {
	all := g.positional()
	in, o := g.c.Inputs, g.c.Options
	if in.Padding != nil {
		all = append(all, screen{"padded-token", "the padding mask",
			func(n, _, j int) bool { return in.Padding.Data[n*g.keys+j] },
			func(c *fixture.Case) { c.Inputs.Padding = nil }})
	}
	mask := func(name string, shape []int, hidden func(at int) bool, lift func(*fixture.Case)) {
		all = append(all, screen{"masked-token", name, g.everyHead(shape, hidden), lift})
	}
	if in.Block != nil {
		mask("the mask", in.Block.Shape, func(at int) bool { return in.Block.Data[at] }, func(c *fixture.Case) { c.Inputs.Block = nil })
	}
	if in.Bias != nil {
		mask("-inf in the additive mask", in.Bias.Shape, func(at int) bool { return lowest(in.Bias.Data[at]) }, func(c *fixture.Case) { c.Inputs.Bias = nil })
	}
	if o.Allow != nil {
		mask("the mask", o.Allow.Shape, func(at int) bool { return !o.Allow.Data[at] }, func(c *fixture.Case) { c.Options.Allow = nil })
	}
	if o.Bias != nil {
		mask("-inf in the additive mask", o.Bias.Shape, func(at int) bool { return lowest(o.Bias.Data[at]) }, func(c *fixture.Case) { c.Options.Bias = nil })
	}
	return all
}

func lowest(v float32) bool { return math.IsInf(float64(v), -1) }

// positional are the screens that go by the distance of key and query.
func (g grid) positional() []screen {
	offset, window := g.past, g.c.Layer.Window
	causal := g.c.Op == fixture.MultiHead && !g.c.Layer.Bidirectional
	if g.c.Op == fixture.SDPA {
		causal, window = g.c.Options.Causality != attention.NotCausal, g.c.Options.Window
		if g.c.Options.Causality == attention.LowerRight {
			offset = g.keys - g.queries
		}
	}
	var all []screen
	if causal {
		all = append(all, screen{"future-token", "the causal mask",
			func(_, i, j int) bool { return j > i+offset },
			func(c *fixture.Case) { c.Layer.Bidirectional, c.Options.Causality = true, attention.NotCausal }})
	}
	if window > 0 {
		all = append(all, screen{"window-token", "the window",
			func(_, i, j int) bool { return max(j-i-offset, i+offset-j) >= window },
			func(c *fixture.Case) { c.Layer.Window, c.Options.Window = 0, 0 }})
	}
	return all
}

// everyHead says whether a mask hides a key in every head of a layer, or in a group of a function.
func (g grid) everyHead(shape []int, hidden func(at int) bool) func(n, i, j int) bool {
	if g.c.Op == fixture.SDPA {
		scores := slices.Concat(g.lead, []int{g.queries, g.keys})
		return func(n, i, j int) bool { return hidden(broadcastAt(shape, scores, (n*g.queries+i)*g.keys+j)) }
	}
	heads := g.c.Layer.NumHeads
	return func(n, i, j int) bool {
		for h := range heads {
			at := i*g.keys + j
			if len(shape) == 3 {
				at += (n*heads + h) * g.queries * g.keys
			}
			if !hidden(at) {
				return false
			}
		}
		return true
	}
}

// broadcastAt is where the element at a place of the target stands in an array that is broadcast to it.
func broadcastAt(shape, target []int, place int) int {
	at, stride := 0, 1
	for back := 1; back <= len(target); back++ {
		size := target[len(target)-back]
		if back <= len(shape) && shape[len(shape)-back] > 1 {
			at += place % size * stride
			stride *= shape[len(shape)-back]
		}
		place /= size
	}
	return at
}
