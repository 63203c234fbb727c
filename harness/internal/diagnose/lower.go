package diagnose

import (
	"maps"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// lowerPrecision decides if the output of a module holds numbers of a lower precision alone, and
// its errors are as large as this precision makes them.
func lowerPrecision(in *input) *finding {
	for _, p := range []struct {
		name      string
		precision oracle.Precision
	}{{"bfloat16", oracle.BFloat16}, {"float16", oracle.Float16}} {
		if c, ok := inNoiseOf(in, p.name); ok && p.precision.Holds(in.got) {
			return inPrecision(in, c, p.name, "every element is a number of %s, and the errors are of the size "+
				"that this module has in it (rel %.3g; %.2g times the noise of that precision)")
		}
	}
	return nil
}

// sizeOfLowerPrecision decides if the errors of a module fit the noise that it has in a lower
// precision: they are everywhere, none stands out, and they have no direction. Parameters that are
// slightly off everywhere look the same. A mistake such as a finite number for a masked score can
// leave errors a tenth as large as the noise: they prove nothing.
func sizeOfLowerPrecision(in *input) *finding {
	const cosine = 0.35 // as for [directed]
	const least = 0.2   // rms z; right programs have 0.28 or more
	if standsOut(in) || along(in, in.truth.Value) > cosine || shiftShare(in) > cosine {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(in.lower)) {
		if c, ok := inNoiseOf(in, name); ok && c.RMSZ >= least {
			return inPrecision(in, c, name, "errors everywhere, without direction, of the size that this module "+
				"has in %s, or parameters slightly off (rel %.3g; %.2g times the noise of that precision)")
		}
	}
	return nil
}

// inNoiseOf compares an output with the truth in the noise of a lower precision. It reports whether
// the errors are as large as right programs make them there: an rms z of 0.28 to 0.45 on eight
// families.
func inNoiseOf(in *input, name string) (compare.Comparison, bool) {
	const least, most = 0.1, 1.0
	sigma := in.lower[name]
	if sigma == nil {
		return compare.Comparison{}, false
	}
	c := compare.Outputs(in.comparison.WantShape, in.got, compare.Expected{
		Shape: in.comparison.WantShape, Value: in.truth.Value, Sigma: sigma, Measured: true,
	})
	return c, c.OK() && !math.IsNaN(c.RMSZ) && c.RMSZ >= least && c.RMSZ <= most
}

func inPrecision(in *input, c compare.Comparison, name, text string) *finding {
	return findingf(Rounding, text, name, in.comparison.Rel, c.RMSZ).
		because("if the implementation computes in %s, declare it: --precision %s", name, name)
}
