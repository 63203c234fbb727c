package probe

import (
	"fmt"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/subject"
)

// hiddenToken turns the sign of one token that masks hide, and looks at the rows from which one kind
// of mask alone hides it.
func hiddenToken(id string) func(*bench) string {
	return func(b *bench) string {
		screens := b.grid.screens()
		for s, screen := range screens {
			if screen.id != id {
				continue
			}
			if text := b.leak(screen, slices.Delete(slices.Clone(screens), s, s+1)); text != "" {
				return text
			}
		}
		return ""
	}
}

func (b *bench) leak(s screen, others []screen) string {
	g := b.grid
	j, rows := g.key(func(n, i, j int) bool {
		return s.hides(n, i, j) && !slices.ContainsFunc(others, func(o screen) bool { return o.hides(n, i, j) })
	})
	if len(rows) == 0 {
		return ""
	}
	was, is, ok := b.after(changed(b.c, keysAndValues, func(t *attention.Tensor) { g.negateKey(t, rows[0].group, j) }))
	if !ok {
		return ""
	}
	reached, most, first := 0, 0.0, rows[0]
	for _, r := range rows {
		change := b.apart(g.row(was, r.group, r.row), g.row(is, r.group, r.row))
		if change <= b.far {
			continue
		}
		reached++
		if reached == 1 {
			first = r
		}
		most = max(most, change)
	}
	if reached == 0 {
		return ""
	}
	return fmt.Sprintf("%s changes when token %d does, which %s hides from it; of %d such rows %d change, by up to %.2g of the output's size%s",
		g.label(first), j, s.name, len(rows), reached, most, b.ignored(s))
}

// ignored says so where the output is the same when a case does not ask for a mask.
func (b *bench) ignored(s screen) string {
	without := *b.c
	s.lift(&without)
	if b.sameLayer {
		return "" // another configuration is another layer
	}
	if was, is, ok := b.after(&without); ok && subject.Same(was, is) {
		return "; asked for without " + s.name + ", the output is the same to the bit"
	}
	return ""
}

// seenToken is the reverse of a leak: a token changes, and no row that sees it does.
func (b *bench) seenToken() string {
	g := b.grid
	screens := g.screens()
	j, rows := g.key(func(n, i, j int) bool {
		return !slices.ContainsFunc(screens, func(s screen) bool { return s.hides(n, i, j) })
	})
	if len(rows) == 0 {
		return ""
	}
	was, is, ok := b.after(changed(b.c, keysAndValues, func(t *attention.Tensor) { g.negateKey(t, rows[0].group, j) }))
	if !ok {
		return ""
	}
	for _, r := range rows {
		if b.apart(g.row(was, r.group, r.row), g.row(is, r.group, r.row)) > 0 {
			return ""
		}
	}
	return fmt.Sprintf("token %d changes, and none of the %d rows of other tokens that see it does, to the bit", j, len(rows))
}

// batch changes batch element 0 and looks at the others.
func (b *bench) batch() string {
	g := b.grid
	dims := len(b.c.Output.Shape)
	elements := g.lead[0]
	if b.c.Op == fixture.SDPA && dims < 4 || elements < 2 {
		return "" // one element, or the first dimension is that of the heads
	}
	first := changed(b.c, inputs, func(t *attention.Tensor) {
		if b.c.Op == fixture.SDPA && (len(t.Shape) < dims || t.Shape[0] != elements) {
			return // broadcast: shared by all
		}
		if b.c.Op == fixture.MultiHead && len(t.Shape) == 3 {
			groups, length := lengths(b.c.Layer.InputLayout, t.Shape)
			for i := range length {
				negate(g.token(t, 0, i, groups, length))
			}
			return
		}
		negate(t.Data[:len(t.Data)/elements])
	})
	return b.others(first, "batch element 0", "batch elements", func(group int) bool { return group*elements/g.groups > 0 })
}

// heads changes the queries of head 0 of a function and looks at other heads.
func (b *bench) heads() string {
	g := b.grid
	q := b.c.Inputs.Query
	heads := g.lead[len(g.lead)-1]
	if b.c.Op != fixture.SDPA || heads < 2 || q.Shape[len(q.Shape)-3] != heads || q == b.c.Inputs.Key || q == b.c.Inputs.Value {
		return ""
	}
	size := q.Shape[len(q.Shape)-1] * q.Shape[len(q.Shape)-2]
	first := changed(b.c, func(in *attention.Inputs) []**attention.Tensor { return []**attention.Tensor{&in.Query} }, func(t *attention.Tensor) {
		for at := 0; at < len(t.Data); at += size * heads {
			negate(t.Data[at:][:size])
		}
	})
	return b.others(first, "the queries of head 0", "heads", func(group int) bool { return group%heads > 0 })
}

// others looks at groups that a change should leave alone.
func (b *bench) others(c *fixture.Case, what, which string, other func(group int) bool) string {
	was, is, ok := b.after(c)
	if !ok {
		return ""
	}
	reached, all, most := 0, 0, 0.0
	for n := range b.grid.groups {
		for i := range b.grid.queries {
			if !other(n) {
				continue
			}
			all++
			if change := b.apart(b.grid.row(was, n, i), b.grid.row(is, n, i)); change > b.far {
				reached++
				most = max(most, change)
			}
		}
	}
	if reached == 0 {
		return ""
	}
	return fmt.Sprintf("%s change, and with them %d of %d rows of other %s, by up to %.2g of the output's size", what, reached, all, which, most)
}
