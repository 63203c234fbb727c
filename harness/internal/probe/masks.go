package probe

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// mask hides keys from queries, for one reason.
type mask struct {
	id, name string                      // of the probe that is about it, and for people
	hides    func(group, i, j int) bool  // query i, key j, in every head
	lift     func(without *fixture.Case) // takes the mask off a copy of the case
}

// WithoutMask returns a case without the masks that a probe is about: without the causal mask for
// "future-token". It returns nil if the case has none of them.
func WithoutMask(c *fixture.Case, probe string) *fixture.Case {
	at, ok := positionsOf(c)
	if !ok {
		return nil
	}
	var without *fixture.Case
	for _, m := range at.masks() {
		if m.id == probe {
			if without == nil {
				own := *c
				without = &own
			}
			m.lift(without)
		}
	}
	return without
}

// masks returns every mask that the case has.
func (at positions) masks() []mask {
	all := at.positional()
	in, o := at.c.Inputs, at.c.Options
	if in.Padding != nil {
		all = append(all, mask{"padded-token", "the padding mask",
			func(n, _, j int) bool { return in.Padding.Data[n*at.keys+j] },
			func(c *fixture.Case) { c.Inputs.Padding = nil }})
	}
	add := func(name string, shape []int, hidden func(at int) bool, lift func(*fixture.Case)) {
		all = append(all, mask{"masked-token", name, at.everyHead(shape, hidden), lift})
	}
	if o.KeyLengths != nil {
		all = append(all, mask{"padded-token", "the length of the valid keys",
			func(n, _, j int) bool { return j >= o.KeyLengths[at.element(n)] }, withoutLengths})
	}
	if in.Block != nil {
		add("the mask", in.Block.Shape,
			func(i int) bool { return in.Block.Data[i] },
			func(c *fixture.Case) { c.Inputs.Block = nil })
	}
	if in.Bias != nil {
		add("-inf in the additive mask", in.Bias.Shape,
			func(i int) bool { return lowest(in.Bias.Data[i]) },
			func(c *fixture.Case) { c.Inputs.Bias = nil })
	}
	if o.Allow != nil {
		add("the mask", o.Allow.Shape,
			func(i int) bool { return !o.Allow.Data[i] },
			func(c *fixture.Case) { c.Options.Allow = nil })
	}
	if o.Bias != nil {
		add("-inf in the additive mask", o.Bias.Shape,
			func(i int) bool { return lowest(o.Bias.Data[i]) },
			func(c *fixture.Case) { c.Options.Bias = nil })
	}
	return all
}

// withoutLengths shows all keys, and leaves the queries where they stand.
func withoutLengths(c *fixture.Case) {
	if c.Options.FirstPositions = c.FirstPositions(); c.Options.FirstPositions != nil {
		c.Options.Causality = min(c.Options.Causality, attention.TopLeft)
	}
	c.Options.KeyLengths = nil
}

func lowest(v float32) bool { return math.IsInf(float64(v), -1) }

// positional returns the masks that depend on the distance between key and query.
func (at positions) positional() []mask {
	window := at.c.Layer.Window
	causal := at.c.Op == fixture.MultiHead && !at.c.Layer.Bidirectional
	if at.c.Op == fixture.SDPA {
		causal, window = at.c.Options.Causality != attention.NotCausal, at.c.Options.Window
	}
	var all []mask
	if causal {
		all = append(all, mask{"future-token", "the causal mask",
			func(n, i, j int) bool { return j > i+at.first(n) },
			func(c *fixture.Case) { c.Layer.Bidirectional, c.Options.Causality = true, attention.NotCausal }})
	}
	if window > 0 {
		all = append(all, mask{"window-token", "the window",
			func(n, i, j int) bool { return max(j-i-at.first(n), i+at.first(n)-j) >= window },
			func(c *fixture.Case) { c.Layer.Window, c.Options.Window = 0, 0 }})
	}
	return all
}

// everyHead returns a function that reports whether a mask of the given shape hides a key. In a
// layer it must do so in every head; the groups of a function are its heads.
func (at positions) everyHead(shape []int, hidden func(at int) bool) func(group, i, j int) bool {
	if at.c.Op == fixture.SDPA {
		scores := slices.Concat(at.lead, []int{at.queries, at.keys})
		return func(n, i, j int) bool {
			return hidden(broadcastIndex(shape, scores, (n*at.queries+i)*at.keys+j))
		}
	}
	heads := at.c.Layer.NumHeads
	return func(n, i, j int) bool {
		for h := range heads {
			index := i*at.keys + j
			if len(shape) == 3 {
				index += (n*heads + h) * at.queries * at.keys
			}
			if !hidden(index) {
				return false
			}
		}
		return true
	}
}
