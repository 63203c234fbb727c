package probe

import (
	"fmt"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/subject"
)

// hiddenToken returns the probe of one kind of mask. It changes the sign of a hidden token, and
// looks at the rows from which that mask alone hides it.
func hiddenToken(id string) func(*prober) string {
	return func(p *prober) string {
		masks := p.at.masks()
		for i, m := range masks {
			if m.id != id {
				continue
			}
			if text := p.leak(m, slices.Delete(slices.Clone(masks), i, i+1)); text != "" {
				return text
			}
		}
		return ""
	}
}

func (p *prober) leak(m mask, others []mask) string {
	j, rows := p.at.bestKey(func(n, i, j int) bool {
		return m.hides(n, i, j) && !slices.ContainsFunc(others, func(o mask) bool { return o.hides(n, i, j) })
	})
	if len(rows) == 0 {
		return ""
	}
	before, after, ok := p.with(withInputs(p.c, keysAndValues, func(t *attention.Tensor) {
		p.at.negateKey(t, rows[0].group, j)
	}))
	if !ok {
		return ""
	}
	reached := p.changed(before, after, rows)
	if reached.rows == 0 {
		return ""
	}
	return fmt.Sprintf("%s changes when token %d does, which %s hides from it; "+
		"of %d such rows %d change, by up to %.2g of the output's size%s",
		p.at.label(reached.first), j, m.name, len(rows), reached.rows, reached.most, p.ignored(m))
}

// reach is the effect of a change on some rows.
type reach struct {
	rows  int     // how many change by more than rounding
	first place   // the first of them
	most  float64 // the largest change
}

func (p *prober) changed(before, after *attention.Tensor, rows []place) reach {
	var r reach
	for _, at := range rows {
		change := p.change(p.at.row(before, at), p.at.row(after, at))
		if change <= p.large {
			continue
		}
		if r.rows == 0 {
			r.first = at
		}
		r.rows++
		r.most = max(r.most, change)
	}
	return r
}

// ignored returns a remark if the output is the same when the case does not ask for the mask.
func (p *prober) ignored(m mask) string {
	without := *p.c
	m.lift(&without)
	if p.freshDiffer {
		return "" // another configuration needs another layer
	}
	if before, after, ok := p.with(&without); ok && subject.Same(before, after) {
		return "; asked for without " + m.name + ", the output is the same to the bit"
	}
	return ""
}

// seenToken is the reverse of a leak: it changes a token, and no row that sees the token changes.
func (p *prober) seenToken() string {
	masks := p.at.masks()
	j, rows := p.at.bestKey(func(n, i, j int) bool {
		return !slices.ContainsFunc(masks, func(m mask) bool { return m.hides(n, i, j) })
	})
	if len(rows) == 0 {
		return ""
	}
	before, after, ok := p.with(withInputs(p.c, keysAndValues, func(t *attention.Tensor) {
		p.at.negateKey(t, rows[0].group, j)
	}))
	if !ok {
		return ""
	}
	for _, at := range rows {
		if p.change(p.at.row(before, at), p.at.row(after, at)) > 0 {
			return ""
		}
	}
	return fmt.Sprintf("token %d changes, and none of the %d rows of other tokens that see it does, to the bit",
		j, len(rows))
}

// batch changes batch element 0 and looks at the others.
func (p *prober) batch() string {
	dims := len(p.c.Output.Shape)
	elements := p.at.lead[0]
	if p.c.Op == fixture.SDPA && dims < 4 || elements < 2 {
		return "" // there is one element, or the first dimension counts heads
	}
	first := withInputs(p.c, allInputs, func(t *attention.Tensor) {
		if p.c.Op == fixture.SDPA && (len(t.Shape) < dims || t.Shape[0] != elements) {
			return // all elements share it
		}
		if p.c.Op == fixture.MultiHead && len(t.Shape) == 3 {
			groups, length := batchAndLength(p.c.Layer.InputLayout, t.Shape)
			for i := range length {
				negate(p.at.token(t, 0, i, groups, length))
			}
			return
		}
		negate(t.Data[:len(t.Data)/elements])
	})
	return p.others(first, "batch element 0", "batch elements", func(group int) bool {
		return group*elements/p.at.groups > 0
	})
}

// heads changes the queries of head 0 of a function and looks at the other heads.
func (p *prober) heads() string {
	in := p.c.Inputs
	q, heads := in.Query, p.at.lead[len(p.at.lead)-1]
	if p.c.Op != fixture.SDPA || heads < 2 || q.Shape[len(q.Shape)-3] != heads || q == in.Key || q == in.Value {
		return ""
	}
	size := q.Shape[len(q.Shape)-1] * q.Shape[len(q.Shape)-2]
	first := withInputs(p.c, onlyQuery, func(t *attention.Tensor) {
		for at := 0; at < len(t.Data); at += size * heads {
			negate(t.Data[at:][:size])
		}
	})
	return p.others(first, "the queries of head 0", "heads", func(group int) bool { return group%heads > 0 })
}

// others looks at the groups that a change should leave alone.
func (p *prober) others(changed *fixture.Case, what, which string, other func(group int) bool) string {
	before, after, ok := p.with(changed)
	if !ok {
		return ""
	}
	var rows []place
	for n := range p.at.groups {
		for i := range p.at.queries {
			if other(n) {
				rows = append(rows, place{n, i})
			}
		}
	}
	reached := p.changed(before, after, rows)
	if reached.rows == 0 {
		return ""
	}
	return fmt.Sprintf("%s change, and with them %d of %d rows of other %s, by up to %.2g of the output's size",
		what, reached.rows, len(rows), which, reached.most)
}
