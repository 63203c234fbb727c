package replay

import (
	"context"

	"github.com/difftest/difftest/harness/internal/catalogue"
)

// Unloaded returns n draws of each kind of random weights that the case sees: those of the
// catalogue and the usual initial values. It fails if ctx ends.
func (o Output) Unloaded(ctx context.Context, n int) (all []Replay, err error) {
	for _, r := range o.Visible {
		if r.Mistake.Kind == catalogue.Unloaded {
			all = append(all, r)
		}
	}
	var kinds []catalogue.Mistake
	if o.Sampled.Partial() { // random weights are not among the visible mistakes yet
		for _, m := range o.Case.known {
			if m.Kind == catalogue.Unloaded {
				kinds = append(kinds, m)
			}
		}
	}
	for _, m := range append(kinds, catalogue.Initial...) {
		r, err := o.Case.Draw(ctx, m, n)
		if err != nil {
			return nil, err
		}
		if m.ID == "" || r.visible() {
			all = append(all, *r)
		}
	}
	return all, nil
}
