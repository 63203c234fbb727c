package diagnose

import (
	"context"
	"fmt"
	"strings"

	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/replay"
)

// valuesInGraph decides if a parameter of a module proves to have other values: one of few
// elements, or the weight of a linear layer.
func valuesInGraph(ctx context.Context, in *input, _ fit.Result) answer {
	if in.module == nil {
		return answer{}
	}
	found, cut := in.module.FindOtherValues(ctx, in.whole.Blank(in.output))
	f, fits := explainedByValues(found)
	return answer{finding: f, fits: fits, cut: cut}
}

// explainedByValues names the parameters whose other values give the output; nil if there are none.
func explainedByValues(found []replay.ValueMatch) (*finding, *fit.Result) {
	if len(found) == 0 {
		return nil, nil
	}
	var titles []string
	fits := &fit.Result{}
	for _, v := range found {
		titles = append(titles, v.Title())
		fits.Fits = append(fits.Fits, fit.Fit{
			Freed: v.Title(), Parameters: v.Keys, Holds: true, Narrowest: true,
			Residual: v.Residual, MaxZ: v.MaxZ,
			Detail: fmt.Sprintf("%d unknown elements, %d wrong rows", v.Unknowns, v.Rows),
		})
	}
	f := findingf(WrongWeights, "the output is as with other values of %s", strings.Join(titles, ", or of "))
	first := found[0]
	leaves := fmt.Sprintf("least squares leaves %.2g (max z %.2g)", first.Residual, first.MaxZ)
	if first.Equations > 0 {
		f.because("%s in %d equations with %d unknown elements", leaves, first.Equations, first.Unknowns)
	} else {
		f.because("%s; each half of the %d wrong rows follows from the other half", leaves, first.Rows)
	}
	if len(found) > 1 {
		f.because("this case cannot tell these apart")
	}
	return f, fits
}
