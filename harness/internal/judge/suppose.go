package judge

import (
	"context"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
)

// Supposed is a case computed with some wrong numbers. It tells whether an output is explained by
// them, alone or together with a mistake.
type Supposed struct {
	c       *fixture.Case
	problem *oracle.Problem
	truth   compare.Expected // of the problem, in the oracle's order of dimensions
}

// Suppose computes a case with wrong numbers, each by its value. It reports false if the case has
// none of one of the numbers, or if its value is right.
func Suppose(c *fixture.Case, lower oracle.Precision, values ...replay.NumberMatch) (*Supposed, bool) {
	wrong := oracle.FromCase(c).In(lower)
	for _, n := range values {
		if right, ok := n.Number.Get(wrong); !ok || right == n.Value {
			return nil, false
		}
		n.Number.Set(wrong, n.Value)
	}
	wrong = wrong.Cached()
	return &Supposed{c, wrong, wrong.Run().Expected()}, true
}

// Alone compares an output, in the case's order of dimensions, with the case computed with the
// numbers, and with mistakes made besides. It reports false if a mistake does not apply.
func (s *Supposed) Alone(got oracle.Array, mistakes ...catalogue.Mistake) (compare.Comparison, bool) {
	own, truth := batchFirst(s.c, got), s.truth
	if len(mistakes) > 0 {
		wrong, ok := catalogue.Make(s.problem, nil, mistakes...)
		if !ok {
			return compare.Comparison{}, false
		}
		truth = wrong.Run().Expected()
	}
	return compare.Outputs(own.Shape, own.Value, truth), true
}

// Besides looks for a mistake, or another wrong number, that gives an output together with the
// numbers.
func (s *Supposed) Besides(ctx context.Context, got oracle.Array) ([]replay.Match, []replay.NumberMatch) {
	own := batchFirst(s.c, got)
	c := compare.Outputs(own.Shape, own.Value, s.truth)
	if !c.SameShape() || c.OK() {
		return nil, nil
	}
	o, cut := replay.NewOutput(ctx, replay.NewCase(s.problem, s.truth), own.Value, c)
	if cut != "" || o.Sampled.Partial() {
		return nil, nil
	}
	if matches, _ := replay.FindSingle(ctx, o); len(matches) > 0 {
		return matches, nil
	}
	numbers, _ := replay.FindNumbers(ctx, o)
	return nil, numbers
}
