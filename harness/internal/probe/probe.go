package probe

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// NoInput is the id of the probe that sees whether the output depends on the inputs.
const NoInput = "input-no-effect"

// Probes runs a subject again, some twenty times, on a case that it fails with this output, and
// returns what is proved by that. What the subject refuses, or panics at, proves nothing.
//
// The changes leave the size of the inputs as it is, so that a correct subject changes what it must,
// and elsewhere nothing but roundings.
func Probes(ctx context.Context, live subject.Live, c *fixture.Case, output *attention.Tensor) []report.Probe {
	b := &bench{ctx: ctx, live: live, output: output, met: map[string]bool{}}
	if !b.prepare(c) {
		return nil
	}
	var all []report.Probe
	for _, p := range probes {
		if slices.ContainsFunc(p.unless, func(id string) bool { return b.met[id] }) {
			continue
		}
		if text := p.run(b); text != "" {
			b.met[p.id] = true
			all = append(all, report.Probe{ID: p.id, Title: p.title, Text: text})
		}
	}
	return all
}

// probes are asked in this order; one is left out where what it says follows from another.
var probes = []struct {
	id, title string
	unless    []string
	run       func(*bench) string
}{
	{"fresh-layer", "each new layer gives another output", nil, (*bench).freshLayer},
	{"history", "the output depends on what was run before", nil, (*bench).history},
	{NoInput, "the output does not depend on the inputs", nil, (*bench).input},
	{report.LoadNoEffect.ID, report.LoadNoEffect.Title, nil, (*bench).weights},
	{"parameter-no-effect", "a parameter has no effect", []string{report.LoadNoEffect.ID}, (*bench).parameters},
	{"output-scale", "the output projection is not the last step", []string{NoInput, report.LoadNoEffect.ID}, (*bench).outputProjection},
	{"value-scale", "the output is not linear in the values", []string{NoInput}, (*bench).values},
	{"future-token", "later tokens reach earlier rows", []string{NoInput}, hiddenToken("future-token")},
	{"window-token", "tokens outside the window reach rows", []string{NoInput}, hiddenToken("window-token")},
	{"padded-token", "padded tokens reach rows", []string{NoInput}, hiddenToken("padded-token")},
	{"masked-token", "masked tokens reach rows", []string{NoInput}, hiddenToken("masked-token")},
	{"token-no-effect", "no row depends on another token", []string{NoInput}, (*bench).seenToken},
	{"batch", "batch elements depend on one another", []string{NoInput}, (*bench).batch},
	{"heads", "heads depend on one another", []string{NoInput}, (*bench).heads},
}

func (b *bench) freshLayer() string {
	if !b.sameLayer || b.erratic {
		return "" // what differs from itself is found by running it twice
	}
	return fmt.Sprintf("a second layer, made and loaded in the same way, gives another output (%.2g of its size): it computes with something that is not loaded", b.between(b.output, b.base))
}

// history runs other inputs between two runs of the case.
func (b *bench) history() string {
	if b.erratic {
		return ""
	}
	out, err := b.live.Series(b.ctx, b.c, changed(b.c, inputs, turnAround), b.c)
	if err != nil || !slices.Equal(out[0].Shape, out[2].Shape) || b.between(out[0], out[2]) <= b.still {
		return ""
	}
	return fmt.Sprintf("after other inputs were run the same inputs give another output (%.2g of its size): something is kept from one forward to the next", b.between(out[0], out[2]))
}

func (b *bench) input() string {
	if !b.grid.someRowSees(1) {
		return ""
	}
	was, is, ok := b.after(changed(b.c, inputs, turnAround))
	if ok && subject.Same(was, is) {
		return "other inputs give the same output, to the bit"
	}
	b.awake = ok
	return ""
}

func (b *bench) weights() string {
	if len(b.c.State) == 0 || !b.awake {
		return ""
	}
	if was, is, ok := b.after(loaded(b.c, func(_ string, t *attention.Tensor) *attention.Tensor { return other(t) })); ok && subject.Same(was, is) {
		return "loaded with other weights the layer gives the same output, to the bit, and with other inputs another: the load never happened"
	}
	return ""
}

// parameters changes one parameter at a time. Where no row sees two keys, queries and keys have no
// part in a right output either.
func (b *bench) parameters() string {
	if !b.awake || !b.grid.someRowSees(2) {
		return ""
	}
	var idle []string
	for _, key := range slices.Sorted(maps.Keys(b.c.State)) {
		if mayBeIdle(b.c, key) || subject.Same(other(b.c.State[key]), b.c.State[key]) {
			continue
		}
		one := loaded(b.c, func(k string, t *attention.Tensor) *attention.Tensor {
			if k == key {
				return other(t)
			}
			return t
		})
		if was, is, ok := b.after(one); ok && subject.Same(was, is) {
			idle = append(idle, key)
		}
	}
	if len(idle) == 0 {
		return ""
	}
	return fmt.Sprintf("loaded with other values of %s the layer gives the same output, to the bit", strings.Join(idle, ", or of "))
}

// outputProjection doubles the last linear map of a layer, which doubles every number after it
// exactly.
func (b *bench) outputProjection() string {
	if len(b.c.State) == 0 {
		return ""
	}
	return b.doubled("the weight and bias of the output projection", loaded(b.c, func(key string, t *attention.Tensor) *attention.Tensor {
		if ofTheOutput(b.c.Layer, key) {
			t = t.Clone()
			double(t)
		}
		return t
	}))
}

// values doubles those of a function, whose output is linear in them.
func (b *bench) values() string {
	if b.c.Op != fixture.SDPA || b.c.Inputs.Value == b.c.Inputs.Key || b.c.Inputs.Value == b.c.Inputs.Query {
		return ""
	}
	return b.doubled("the values", changed(b.c, func(in *attention.Inputs) []**attention.Tensor { return []**attention.Tensor{&in.Value} }, double))
}

func (b *bench) doubled(what string, c *fixture.Case) string {
	was, is, ok := b.after(c)
	if !ok || !finite(is.Data) || !finite(was.Data) {
		return ""
	}
	rest := make([]float32, len(is.Data)) // what is not doubled
	for i, v := range was.Data {
		rest[i] = 2*v - is.Data[i]
	}
	size := rms(rest) / b.scale
	switch {
	case size <= b.far:
		return ""
	case subject.Same(was, is):
		return what + ", doubled, give the same output, to the bit"
	case len(rest) == len(b.c.Inputs.Query.Data) && b.apart(rest, b.c.Inputs.Query.Data) <= b.still:
		return what + ", doubled, double the output but for the query: it is added after them"
	}
	return fmt.Sprintf("%s, doubled, make the output %.3g times as large, and %.2g of it is not doubled", what, rms(is.Data)/rms(was.Data), size)
}
