package selftest

import (
	"context"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// judgePairs makes two mistakes at once. Variants are left out, because the diagnosis tries no
// pairs with them. The case sees each mistake alone. A pair is distinguishable if nothing else
// gives its output: neither the right computation, nor a single mistake, nor another pair.
func (t *trial) judgePairs(ctx context.Context, e Extent) error {
	visible := slices.DeleteFunc(t.visible(), func(p plant) bool { return p.mistakes[0].VariantOf != "" })
	var all [][2]catalogue.Mistake
	for i := range visible {
		for _, other := range visible[i+1:] {
			all = append(all, [2]catalogue.Mistake{visible[i].mistakes[0], other.mistakes[0]})
		}
	}
	var planted []plant
	for _, i := range t.rand("pairs").Perm(len(all)) {
		if len(planted) == e.Pairs {
			break
		}
		pair := all[i][:]
		// Some pairs cannot be made together.
		if p, ok := t.plant(t.rand(catalogue.JoinIDs(pair)), pair...); ok {
			planted = append(planted, p)
		}
	}
	identifiable, err := t.identifiable(ctx, planted, all)
	if err != nil {
		return err
	}
	for i, p := range planted {
		r, err := t.judge(ctx, p, "")
		if err != nil {
			return err
		}
		t.tally(&t.found.Pairs, pairs, p, r, identifiable[i])
	}
	return nil
}

// identifiable reports for each planted pair whether nothing else gives its output. all holds every
// pair of mistakes that the case sees.
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
	var first *oracle.Problem // with pair[0] made; it serves all pairs that begin with the same
	for i, pair := range all {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !slices.Contains(own, true) {
			break
		}
		if i == 0 || all[i-1][0].ID != pair[0].ID {
			wrong, _ := catalogue.Make(t.problem, nil, pair[0]) // possible: the case sees it
			first = wrong.Cached()
		}
		if both, ok := catalogue.Make(first, nil, pair[1]); ok {
			exclude(catalogue.JoinIDs(pair[:]), both.Run().Expected())
		}
	}
	return own, nil
}
