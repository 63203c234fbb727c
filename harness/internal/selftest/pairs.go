package selftest

import (
	"context"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// judgePairs makes two mistakes at once, of those that the case sees. A pair is identifiable when its output
// is neither right nor that of a single mistake or of another pair.
func (t *trial) judgePairs(ctx context.Context, e Extent) error {
	visible := t.visible()
	var all [][2]catalogue.Mistake
	for i := range visible {
		for _, other := range visible[i+1:] {
			all = append(all, [2]catalogue.Mistake{visible[i].mistakes[0], other.mistakes[0]})
		}
	}
	var planted []plant
	for _, i := range t.rand("pairs").Perm(len(all))[:min(e.Pairs, len(all))] {
		pair := all[i]
		if p, ok := t.planted(t.rand(pair[0].ID+"+"+pair[1].ID), pair[0], pair[1]); ok {
			planted = append(planted, p)
		}
	}
	identifiable, err := t.identifiable(ctx, planted, all)
	if err != nil {
		return err
	}
	for i, p := range planted {
		r, err := t.judged(ctx, p, "")
		if err != nil {
			return err
		}
		t.tally(&t.found.Pairs, pairs, p, r, identifiable[i])
	}
	return nil
}

// identifiable says of each pair whether nothing else gives its output.
func (t *trial) identifiable(ctx context.Context, planted []plant, all [][2]catalogue.Mistake) ([]bool, error) {
	own := make([]bool, len(planted))
	for i, p := range planted {
		own[i] = !same(p.exact, t.truth)
	}
	exclude := func(id string, other compare.Expected) {
		for i, p := range planted {
			if own[i] && p.id() != id && same(p.exact, other) {
				own[i] = false
			}
		}
	}
	for _, single := range t.singles {
		exclude(single.id(), single.exact)
	}
	var shared *oracle.Problem // the first mistake's
	for i, pair := range all {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if i == 0 || all[i-1][0].ID != pair[0].ID {
			shared = t.problem.Clone()
			pair[0].Plant(shared, nil)
			shared = shared.Cached()
		}
		both := shared.Clone()
		if pair[1].Stage == catalogue.Score {
			both = shared.Fork()
		}
		if pair[1].Plant(both, nil) {
			exclude(joined(pair[:]), both.Run().Expected())
		}
	}
	return own, nil
}
