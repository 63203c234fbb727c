package causes

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// numbers returns a cause for each number of the configuration that is wrong in some failures. A
// passing case contradicts the cause if it would fail with the wrong value.
func (in *inquiry) numbers() []report.Cause {
	var ids []string
	wrong, failures := map[string][]replay.NumberMatch{}, map[string][]string{}
	for _, r := range in.failures() {
		for _, n := range r.Diagnosis.Numbers {
			id := n.Number.ID
			if wrong[id] == nil {
				ids = append(ids, id)
			}
			wrong[id], failures[id] = append(wrong[id], n), append(failures[id], r.Case)
		}
	}
	var found []report.Cause
	for _, id := range ids {
		rule := ruleOf(wrong[id])
		found = append(found, report.Cause{
			ID: id, Title: rule.text, Fix: wrong[id][0].Number.Fix, Failures: failures[id],
			Passes: in.passes(), Contradictions: in.passesAgainst(in.ctx, wrong[id][0], rule),
		})
	}
	return byFailures(found)
}

// rule says how the wrong values of a number come from the right ones.
type rule struct {
	text  string
	value func(right float64) (wrong float64, ok bool)
}

// ruleOf returns the rule that all wrong values of one number follow: one value, one factor, or
// none.
func ruleOf(all []replay.NumberMatch) rule {
	first := all[0]
	title := first.Number.Title
	factor := first.Value / first.Right
	switch {
	case !slices.ContainsFunc(all, func(n replay.NumberMatch) bool { return !n.Allows(first.Value) }):
		text := fmt.Sprintf("the %s is %.6g", title, first.Value)
		return rule{text, func(float64) (float64, bool) { return first.Value, true }}
	case !slices.ContainsFunc(all, func(n replay.NumberMatch) bool { return !n.Allows(factor * n.Right) }):
		text := fmt.Sprintf("the %s is %.6g times as large as it should be", title, factor)
		return rule{text, func(right float64) (float64, bool) { return factor * right, true }}
	}
	var values []string
	for _, n := range all {
		if v := fmt.Sprintf("%.6g", n.Value); !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	text := fmt.Sprintf("the %s is another: %s", title, strings.Join(values, ", "))
	return rule{text, func(float64) (float64, bool) { return math.NaN(), false }}
}

// passesAgainst names the passing cases that would fail if a number followed the rule.
func (w *witnesses) passesAgainst(ctx context.Context, n replay.NumberMatch, by rule) []string {
	return w.which(ctx, func(r report.Result) bool {
		referee := w.referee(r.Case)
		if !r.Right() || referee == nil {
			return false
		}
		out, ok := judge.WithNumber(w.cases[r.Case], w.declared, n.Number, by.value)
		return ok && !compare.Outputs(out.Shape, out.Value, referee.Expected()).OK()
	})
}
