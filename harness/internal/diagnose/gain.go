package diagnose

import (
	"math"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
)

// gainOrShift decides if the output is the expected one times a number, or plus the same row
// everywhere, to rounding. Then no parameter needs to differ.
func gainOrShift(in *input) *finding {
	const least = 3 // times as many numbers as are fitted
	if in.comparison.NonFinite > 0 || in.comparison.Elements < least {
		return nil
	}
	width := num.Last(in.truth.Shape)
	if g := bestGain(in); isTruth(in, g, make([]float64, width)) {
		const text = "the output is the expected one times %.7g in every element: " +
			"look for a scale of the values or of the result"
		return findingf(Unclear, text, g)
	}
	shift := meanShift(in)
	if rows := len(in.got) / width; rows >= least && isTruth(in, 1, shift) {
		const text = "the output is the expected one plus the same %d numbers in every row, " +
			"of a root mean square of %.3g: look for a bias of the output that is left out, added twice, or another"
		return findingf(Unclear, text, width, num.RMS(shift))
	}
	return nil
}

// isTruth reports whether the output is the truth times a gain, plus a shift of each feature.
func isTruth(in *input, gain float64, shift []float64) bool {
	want := compare.Expected{
		Shape: in.truth.Shape, Value: make([]float64, len(in.got)), Sigma: make([]float64, len(in.got)),
	}
	for i, w := range in.truth.Value {
		want.Value[i] = gain*w + shift[i%len(shift)]
		want.Sigma[i] = math.Max(1, math.Abs(gain)) * in.truth.Sigma[i]
	}
	return compare.Outputs(want.Shape, in.got, want).OK()
}

// bestGain returns the number that brings the truth nearest to the output, by least squares in
// units of the noise. The sums hold the output in units of its size, which may be near the largest
// number.
func bestGain(in *input) float64 {
	var ab, bb float64
	size := math.Max(1, num.RMS(in.got))
	for i, w := range in.truth.Value {
		if s := in.truth.Sigma[i]; s > 0 {
			ab, bb = ab+in.got[i]/size*(w/s)/s, bb+w*w/(s*s)
		}
	}
	return ab / bb * size
}

// meanShift returns the mean error of each feature, over all rows.
func meanShift(in *input) []float64 {
	width := num.Last(in.truth.Shape)
	mean, rows := make([]float64, width), float64(len(in.got)/width)
	for i, w := range in.truth.Value {
		if d := in.got[i] - w; !math.IsNaN(d) {
			mean[i%width] += d / rows
		}
	}
	return mean
}
