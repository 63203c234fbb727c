package fit

import (
	"context"
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/pattern"
)

// Input is a wrong output, finite where a number was expected, of a problem.
type Input struct {
	Problem    *oracle.Problem // right
	Trace      func() oracle.Trace
	Got        []float64
	Comparison compare.Comparison // with the truth
	// Placements tells where a state dict holds the projections, in their order.
	Placements [4]attention.Placement
}

// Result is the answer of [Search].
type Result struct {
	Fits    []Fit    // all questions, explanations first
	Reasons []string // how other values explain the output; nil if none do
	Head    string   // which head alone is wrong, if no fit explains how; "" if unknown
}

// Search asks which weights and biases of a layer would explain an output. Questions that would
// take long are refused. The error says that ctx ended before all questions were asked.
func Search(ctx context.Context, in Input) (Result, error) {
	var out Result
	if in.Problem.Layer == nil {
		return out, nil
	}
	if reason := pattern.Untraceable(in.Problem); reason != "" {
		out.Fits = append(out.Fits, Fit{
			Freed: "any parameter", Refused: reason, Residual: math.Inf(1), MaxZ: math.Inf(1),
		})
		return out, nil
	}
	f := &fitter{
		ctx: ctx, p: in.Problem, trace: in.Trace(), shape: in.Comparison.WantShape, got: in.Got,
		placements: in.Placements,
	}
	at := f.localise(in.Comparison.Rel)
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	for _, x := range at.tried {
		out.Fits = append(out.Fits, x.Fit)
	}
	slices.SortStableFunc(out.Fits, func(a, b Fit) int { return rankOf(a) - rankOf(b) })
	out.Reasons, out.Head = at.reasons(), f.headText(at.heads)
	return out, nil
}

// rankOf sorts explanations first and refused questions last.
func rankOf(f Fit) int {
	switch {
	case f.Explains():
		return 0
	case f.Refused == "":
		return 1
	}
	return 2
}
