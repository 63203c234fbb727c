package diagnose

import (
	"context"
	"fmt"

	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/replay"
)

// pairsInGraph decides if two mistakes in the graph of a module give the output together. It says
// how many pairs it tried.
func pairsInGraph(ctx context.Context, in *input, _ fit.Result) answer {
	if in.module == nil {
		return answer{}
	}
	pairs, cut := in.module.FindPairs(ctx, in.whole.Blank(in.output))
	return answer{finding: explainedByPairs(pairs), cut: cut, note: triedPairs(pairs)}
}

// explainedByPairs names the pairs of mistakes that give the output; nil if there are none.
func explainedByPairs(pairs replay.Pairs) *finding {
	f := explained(pairs.Matches)
	if f != nil && pairs.Tried < pairs.Of {
		f.because("of %d pairs of mistakes, the %d that may come nearest were tried", pairs.Of, pairs.Tried)
	}
	return f
}

// triedPairs says how many pairs of mistakes were tried.
func triedPairs(pairs replay.Pairs) string {
	if pairs.Tried == 0 {
		return "two mistakes at once were not tried on this module"
	}
	return fmt.Sprintf("two mistakes at once: %d of %d pairs were tried", pairs.Tried, pairs.Of)
}
