// Package probe runs a failing subject again with changed inputs and parameters. The changes in the
// output prove some mistakes without knowing them: a mask that does not hide, a load without
// effect, batch elements that mix.
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

// NoInput is the id of the probe that changes all inputs and looks whether the output changes.
const NoInput = "input-no-effect"

// Probes runs a subject again, some twenty times, on a case that it fails with the given output. It
// returns what the runs prove. A run that the subject refuses, or that panics, proves nothing.
//
// The changes keep the size of the inputs. A correct subject then changes the rows that it must,
// and all others by rounding at most.
func Probes(ctx context.Context, live subject.Live, c *fixture.Case, output *attention.Tensor) []report.Probe {
	p := &prober{ctx: ctx, live: live, output: output, spoke: map[string]bool{}}
	if !p.prepare(c) {
		return nil
	}
	var all []report.Probe
	for _, next := range probes {
		if slices.ContainsFunc(next.unless, func(id string) bool { return p.spoke[id] }) {
			continue
		}
		if text := next.run(p); text != "" {
			p.spoke[next.id] = true
			all = append(all, report.Probe{ID: next.id, Title: next.title, Text: text})
		}
	}
	return all
}

// probes are asked in this order. A probe is left out if one of unless has found something, because
// its own finding would follow from that.
var probes = []struct {
	id, title string
	unless    []string
	run       func(*prober) string // returns its finding, "" if there is none
}{
	{"fresh-layer", "each new layer gives another output", nil, (*prober).freshLayer},
	{"history", "the output depends on what was run before", nil, (*prober).history},
	{NoInput, "the output does not depend on the inputs", nil, (*prober).inputs},
	{report.LoadNoEffect.ID, report.LoadNoEffect.Title, nil, (*prober).weights},
	{"parameter-no-effect", "a parameter has no effect", []string{report.LoadNoEffect.ID}, (*prober).parameters},
	{"output-scale", "the output projection is not the last step",
		[]string{NoInput, report.LoadNoEffect.ID}, (*prober).outputProjection},
	{"value-scale", "the output is not linear in the values", []string{NoInput}, (*prober).values},
	{"future-token", "later tokens reach earlier rows", []string{NoInput}, hiddenToken("future-token")},
	{"window-token", "tokens outside the window reach rows", []string{NoInput}, hiddenToken("window-token")},
	{"padded-token", "padded tokens reach rows", []string{NoInput}, hiddenToken("padded-token")},
	{"masked-token", "masked tokens reach rows", []string{NoInput}, hiddenToken("masked-token")},
	{"token-no-effect", "no row depends on another token", []string{NoInput}, (*prober).seenToken},
	{"batch", "batch elements depend on one another", []string{NoInput}, (*prober).batch},
	{"heads", "heads depend on one another", []string{NoInput}, (*prober).heads},
}

func (p *prober) freshLayer() string {
	if !p.freshDiffer || p.erratic {
		return "" // a layer that differs from itself is found by running it twice
	}
	return fmt.Sprintf("a second layer, made and loaded in the same way, gives another output (%.2g of its size): "+
		"it computes with something that is not loaded", p.change(p.output.Data, p.base.Data))
}

// history runs other inputs between two runs of the case.
func (p *prober) history() string {
	if p.erratic {
		return ""
	}
	out, err := p.live.Series(p.ctx, p.c, withInputs(p.c, allInputs, reverseAndNegate), p.c)
	if err != nil || !slices.Equal(out[0].Shape, out[2].Shape) {
		return ""
	}
	change := p.change(out[0].Data, out[2].Data)
	if change <= p.small {
		return ""
	}
	return fmt.Sprintf("after other inputs were run the same inputs give another output (%.2g of its size): "+
		"something is kept from one forward to the next", change)
}

func (p *prober) inputs() string {
	if !p.at.someRowSees(1) {
		return ""
	}
	before, after, ok := p.with(withInputs(p.c, allInputs, reverseAndNegate))
	if ok && subject.Same(before, after) {
		return "other inputs give the same output, to the bit"
	}
	p.awake = ok
	return ""
}

func (p *prober) weights() string {
	if len(p.c.State) == 0 || !p.awake {
		return ""
	}
	before, after, ok := p.with(withState(p.c, func(_ string, t *attention.Tensor) *attention.Tensor {
		return otherValues(t)
	}))
	if ok && subject.Same(before, after) {
		return "loaded with other weights the layer gives the same output, to the bit, " +
			"and with other inputs another: the load had no effect"
	}
	return ""
}

// parameters changes one parameter at a time. If no row sees two keys, the right output does not
// depend on queries and keys, and nothing is asked.
func (p *prober) parameters() string {
	if !p.awake || !p.at.someRowSees(2) {
		return ""
	}
	var idle []string
	for _, key := range slices.Sorted(maps.Keys(p.c.State)) {
		if mayBeIdle(p.c, key) || subject.Same(otherValues(p.c.State[key]), p.c.State[key]) {
			continue
		}
		one := withState(p.c, func(k string, t *attention.Tensor) *attention.Tensor {
			if k == key {
				return otherValues(t)
			}
			return t
		})
		if before, after, ok := p.with(one); ok && subject.Same(before, after) {
			idle = append(idle, key)
		}
	}
	if len(idle) == 0 {
		return ""
	}
	return fmt.Sprintf("loaded with other values of %s the layer gives the same output, to the bit",
		strings.Join(idle, ", or of "))
}

// outputProjection doubles the last linear map of a layer, which exactly doubles every number after
// it.
func (p *prober) outputProjection() string {
	if len(p.c.State) == 0 {
		return ""
	}
	changed := withState(p.c, func(key string, t *attention.Tensor) *attention.Tensor {
		if isOutputProjection(p.c.Layer, key) {
			t = t.Clone()
			double(t)
		}
		return t
	})
	return p.doubled("the weight and bias of the output projection", changed)
}

// values doubles the values of a function, whose output is linear in them.
func (p *prober) values() string {
	in := p.c.Inputs
	if p.c.Op != fixture.SDPA || in.Value == in.Key || in.Value == in.Query {
		return ""
	}
	return p.doubled("the values", withInputs(p.c, allValues, double))
}

// doubled expects twice the output from a case in which something was doubled.
func (p *prober) doubled(what string, changed *fixture.Case) string {
	before, after, ok := p.with(changed)
	if !ok || !finite(after.Data) || !finite(before.Data) {
		return ""
	}
	rest := make([]float32, len(after.Data)) // the part of the output that was not doubled
	for i, v := range before.Data {
		rest[i] = 2*v - after.Data[i]
	}
	size := rms(rest) / p.scale
	query := p.c.Inputs.Query.Data
	switch {
	case size <= p.large:
		return ""
	case subject.Same(before, after):
		return what + ", doubled, give the same output, to the bit"
	case len(rest) == len(query) && p.change(rest, query) <= p.small:
		return what + ", doubled, double the output but for the query: it is added after them"
	}
	return fmt.Sprintf("%s, doubled, make the output %.3g times as large, and %.2g of it is not doubled",
		what, rms(after.Data)/rms(before.Data), size)
}
