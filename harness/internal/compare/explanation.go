package compare

import (
	"math"
	"slices"
)

// MaxResidual is the greatest Rel at which a computation explains an output. Correct bfloat16
// reaches it where the softmax is saturated. A computation with more noise than that, such as one
// that takes scores of -1e9 as weights, would explain every output.
const MaxResidual = 0.05

// MinMargin is how many times further away the next explanation must be than a given one.
const MinMargin = 5

// Explained reports whether a computation explains an output: the output is within the noise of
// the computation, and near its result. The limit of the root mean square is the one for many
// elements, because a few elements fit more easily.
func (c Comparison) Explained() bool {
	return c.OK() && c.Rel <= MaxResidual && c.RMSZ <= Expected{Measured: c.Measured}.Limits().RMS
}

// WrongRows reports for each row whether it has an element outside the noise. A row is all elements
// of the last dimension.
func (c Comparison) WrongRows() []bool {
	width := c.WantShape[len(c.WantShape)-1]
	wrong := make([]bool, len(c.Z)/width)
	for row := range wrong {
		wrong[row] = slices.Max(c.Z[row*width:][:width]) > c.Limits.Z
	}
	return wrong
}

// Residual returns RMS(got - want) / RMS(want) over the elements that are numbers in both. It is
// infinite where only one of two elements is a number, or two infinities differ in sign.
func Residual(got, want []float64) float64 {
	var off, size float64
	for i, w := range want {
		g := got[i]
		switch d := g - w; {
		case g == w || math.IsNaN(g) && math.IsNaN(w):
			if isFinite(w) {
				size += w * w
			}
		case !isFinite(d):
			return math.Inf(1)
		default:
			off += d * d
			size += w * w
		}
	}
	if off == 0 {
		return 0
	}
	return math.Sqrt(off / size)
}
