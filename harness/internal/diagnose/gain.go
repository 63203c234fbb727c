package diagnose

import (
	"math"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
)

// gainOrShift: the output is the expected one times a number, or plus the same in every row, to rounding. No
// parameter needs to be another.
func gainOrShift(e *evidence) *finding {
	const least = 3 // times as many numbers as are fitted
	if e.c.NonFinite > 0 || e.c.Elements < least {
		return nil
	}
	width := num.Last(e.truth.Shape)
	if g := e.gain(); e.isTruth(g, make([]float64, width)) {
		return found(Unclear, "the output is the expected one times %.7g in every element: look for a scale of the values or of the result", g)
	}
	shift := e.shift()
	if rows := len(e.got) / width; rows >= least && e.isTruth(1, shift) {
		return found(Unclear, "the output is the expected one plus the same %d numbers in every row, of a root mean square of %.3g: look for a bias of the output that is left out, added twice, or another", width, num.RMS(shift))
	}
	return nil
}

// isTruth says whether the output is the truth times a gain, plus a shift of each feature.
func (e *evidence) isTruth(gain float64, shift []float64) bool {
	changed := compare.Expected{Shape: e.truth.Shape, Value: make([]float64, len(e.got)), Sigma: make([]float64, len(e.got))}
	for i, w := range e.truth.Value {
		changed.Value[i] = gain*w + shift[i%len(shift)]
		changed.Sigma[i] = math.Max(1, math.Abs(gain)) * e.truth.Sigma[i]
	}
	return compare.Outputs(changed.Shape, e.got, changed).OK()
}

// gain is the number that the truth is multiplied by, by least squares in units of the noise.
func (e *evidence) gain() float64 {
	var ab, bb float64
	for i, w := range e.truth.Value {
		if s := e.truth.Sigma[i]; s > 0 {
			ab, bb = ab+e.got[i]*w/(s*s), bb+w*w/(s*s)
		}
	}
	return ab / bb
}

// shift is the mean over all rows of what the output has more than the truth.
func (e *evidence) shift() []float64 {
	width := num.Last(e.truth.Shape)
	mean, rows := make([]float64, width), float64(len(e.got)/width)
	for i, w := range e.truth.Value {
		if d := e.got[i] - w; !math.IsNaN(d) {
			mean[i%width] += d / rows
		}
	}
	return mean
}
