package diagnose

import (
	"context"
	"fmt"
	"strings"

	"github.com/difftest/difftest/harness/internal/fit"
)

// valuesInGraph decides if a parameter of a module proves to have other values.
func valuesInGraph(ctx context.Context, in *input, _ fit.Result) answer {
	if in.module == nil || in.comparison.NonFinite > 0 {
		return answer{}
	}
	found, cut := in.module.FindValues(ctx, in.whole.Blank(in.output))
	if cut != "" || len(found) == 0 {
		return answer{cut: cut}
	}
	var keys []string
	fits := &fit.Result{}
	for _, v := range found {
		keys = append(keys, v.Key)
		fits.Fits = append(fits.Fits, fit.Fit{
			Freed: v.Key, Parameters: []string{v.Key}, Holds: true, Narrowest: true,
			Residual: v.Residual, MaxZ: v.MaxZ,
			Detail: fmt.Sprintf("%d unknown elements, %d wrong rows", v.Unknowns, v.Rows),
		})
	}
	f := findingf(WrongWeights, "the output is as with other values of %s", strings.Join(keys, ", or of "))
	first := found[0]
	f.because("least squares leaves %.2g (max z %.2g); each half of the %d wrong rows follows from the other half",
		first.Residual, first.MaxZ, first.Rows)
	if len(found) > 1 {
		f.because("this case cannot tell these apart")
	}
	return answer{finding: f, fits: fits}
}
