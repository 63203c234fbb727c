package fuzz

import (
	"context"
	"slices"

	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/fresh"
)

// shrinkByCause shrinks a failure. If known mistakes explain the failure as drawn, the shrunk one
// has a name in common with it. names are the common ones; they are nil if there are none.
func (r *runner) shrinkByCause(ctx context.Context, first Outcome) (shrunk Outcome, names []string, err error) {
	shrunk, err = r.shrink(ctx, first, nil)
	if err != nil || first.Kind != WrongOutput || work(first.Config) > muchWork {
		return shrunk, nil, err
	}
	own, err := r.names(ctx, first.Config)
	if err != nil || len(own) == 0 {
		return shrunk, nil, err
	}
	for range 2 {
		named, err := r.names(ctx, shrunk.Config)
		if err != nil {
			return shrunk, nil, err
		}
		if common := intersection(own, named); len(common) > 0 {
			return shrunk, common, nil
		}
		var failed error
		shrunk, err = r.shrink(ctx, first, func(c fresh.Config) bool {
			named, err := r.names(ctx, c)
			if err != nil {
				failed = err
			}
			return len(intersection(own, named)) > 0
		})
		if err != nil || failed != nil {
			return shrunk, nil, err
		}
	}
	return shrunk, nil, nil
}

// witnesses is how many further failing draws a name must explain.
const witnesses = 5

// common returns the names that explain the largest of the failing draws, too.
func (r *runner) common(ctx context.Context, names []string, failing []fresh.Config) ([]string, error) {
	failing = slices.DeleteFunc(slices.Clone(failing), func(c fresh.Config) bool { return work(c) > littleWork })
	slices.SortStableFunc(failing, func(a, b fresh.Config) int { return work(b) - work(a) })
	for _, c := range failing[:min(len(failing), witnesses)] {
		if len(names) == 0 {
			return nil, nil
		}
		own, err := r.names(ctx, c)
		if err != nil {
			return nil, err
		}
		names = intersection(names, own)
	}
	return names, nil
}

func intersection(a, b []string) []string {
	var common []string
	for _, name := range a {
		if slices.Contains(b, name) {
			common = append(common, name)
		}
	}
	return common
}

// names returns the known mistakes and wrong numbers that explain a subject's output, nil if none
// does.
func (r *runner) names(ctx context.Context, config fresh.Config) ([]string, error) {
	c, err := r.make("fuzz", config)
	if err != nil {
		return nil, err
	}
	ran, err := r.hand(ctx, c)
	if err != nil || ran.Err != nil {
		return nil, err
	}
	referee, err := check.FreshReferee(ctx, r.about, c, ran)
	if err != nil {
		return nil, err
	}
	result, err := referee.Judge(ctx, ran.Output.Shape, ran.Output.Float64s())
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range result.Diagnosis.Matches {
		names = append(names, m.ID())
	}
	for _, n := range result.Diagnosis.Numbers {
		names = append(names, n.Label())
	}
	return names, nil
}
