package probe

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// screen hides keys from queries: a mask of one kind.
type screen struct {
	id, name string
	hides    func(n, i, j int) bool      // query i of group n, key j, in every head
	lift     func(without *fixture.Case) // takes the screen off a copy of the case
}

// Unscreened is a case without the masks that a probe of that id is about, "future-token" the causal
// one; nil where the case has none of them.
func Unscreened(c *fixture.Case, probe string) *fixture.Case {
	g, ok := gridOf(c)
	if !ok {
		return nil
	}
	var without *fixture.Case
	for _, s := range g.screens() {
		if s.id == probe {
			if without == nil {
				own := *c
				without = &own
			}
			s.lift(without)
		}
	}
	return without
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
		return func(n, i, j int) bool { return hidden(sharedAt(shape, scores, (n*g.queries+i)*g.keys+j)) }
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
