package diagnose

import (
	"context"
	"fmt"

	"github.com/difftest/difftest/harness/internal/fit"
)

// pairsInGraph decides if two mistakes in the graph of a module give the output together. It says
// how many pairs it tried.
func pairsInGraph(ctx context.Context, in *input, _ fit.Result) answer {
	if in.module == nil || in.comparison.NonFinite > 0 {
		return answer{}
	}
	pairs, cut := in.module.FindPairs(ctx, in.whole.Blank(in.output))
	a := answer{finding: explained(pairs.Matches), cut: cut}
	if pairs.Tried > 0 {
		a.note = fmt.Sprintf("two mistakes at once: %d of %d pairs were tried", pairs.Tried, pairs.Of)
	} else {
		a.note = "two mistakes at once were not tried on this module"
	}
	if a.finding != nil && pairs.Tried < pairs.Of {
		a.finding.because("of %d pairs of mistakes, the %d that may come nearest were tried", pairs.Of, pairs.Tried)
	}
	return a
}
