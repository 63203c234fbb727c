package diagnose

import (
	"math"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
)

// grouping names a way to divide the elements of an output.
type grouping string

const (
	byFeature grouping = "feature"
	byRow     grouping = "row"
)

// groups divides the elements of an output into n groups of a size.
type groups struct {
	n, size int
	of      func(i int) int // the group of an element
}

// whole is one group of all elements.
func whole(in *input) groups {
	return groups{1, len(in.got), func(int) int { return 0 }}
}

func groupsOf(in *input, by grouping) groups {
	width := num.Last(in.comparison.WantShape)
	rows := len(in.got) / width
	if by == byFeature {
		return groups{width, rows, func(i int) int { return i % width }}
	}
	return groups{rows, width, func(i int) int { return i / width }}
}

// informative counts the groups whose expected elements are outside the noise around zero. It
// returns 0 if one of them has too few such elements to refute a relation of fitted numbers a
// group.
func (g groups) informative(in *input, fitted int) int {
	outside := make([]int, g.n)
	limit := in.comparison.Limits.Z
	for i, w := range in.truth.Value {
		if math.Abs(w) > limit*in.truth.Sigma[i] {
			outside[g.of(i)]++
		}
	}
	n := 0
	for _, elements := range outside {
		switch {
		case elements >= fitted+spare:
			n++
		case elements > 0:
			return 0
		}
	}
	return n
}

// gains returns for each group the number that brings the expected elements nearest to the output,
// by least squares in units of the noise. A group of zeros has the gain 1.
func (g groups) gains(in *input) []float64 {
	ab, bb := make([]float64, g.n), make([]float64, g.n)
	size := sizeOf(in.got)
	for i, w := range in.truth.Value {
		if s := in.truth.Sigma[i]; s > 0 {
			ab[g.of(i)] += in.got[i] / size * (w / s) / s
			bb[g.of(i)] += w / s * (w / s)
		}
	}
	gains := make([]float64, g.n)
	for k := range gains {
		gains[k] = 1
		if bb[k] > 0 {
			gains[k] = ab[k] / bb[k] * size
		}
	}
	return gains
}

// lines returns for each group the gain and the shift that bring the expected elements nearest to
// the output, by least squares in units of the noise.
func (g groups) lines(in *input) (gains, shifts []float64) {
	weight, a, b := make([]float64, g.n), make([]float64, g.n), make([]float64, g.n)
	size := sizeOf(in.got)
	each := func(add func(k int, w, got, truth float64)) {
		for i, t := range in.truth.Value {
			if s := in.truth.Sigma[i]; s > 0 {
				add(g.of(i), 1/(s*s), in.got[i]/size, t)
			}
		}
	}
	each(func(k int, w, got, truth float64) {
		weight[k], a[k], b[k] = weight[k]+w, a[k]+w*got, b[k]+w*truth
	})
	ab, bb := make([]float64, g.n), make([]float64, g.n)
	each(func(k int, w, got, truth float64) {
		off := truth - b[k]/weight[k]
		ab[k], bb[k] = ab[k]+w*off*(got-a[k]/weight[k]), bb[k]+w*off*off
	})
	gains, shifts = make([]float64, g.n), make([]float64, g.n)
	for k := range gains {
		if bb[k] > 0 {
			gains[k] = ab[k] / bb[k] * size
			shifts[k] = a[k]/weight[k]*size - gains[k]*b[k]/weight[k]
		}
	}
	return gains, shifts
}

// relation gives every group its gain and shift. The noise of an element grows and shrinks with its
// gain. Beside it the result was rounded to float32.
func (g groups) relation(in *input, gains, shifts []float64, fitted int, text string) *relation {
	const rounded = 0x1p-25
	r := &relation{text: text, fitted: fitted, want: compare.Expected{
		Shape: in.truth.Shape, Measured: in.truth.Measured,
		Value: make([]float64, len(in.got)), Sigma: make([]float64, len(in.got)),
	}}
	for i, w := range in.truth.Value {
		k := g.of(i)
		r.want.Value[i] = gains[k]*w + shifts[k]
		inherited := math.Hypot(gains[k]*in.truth.Sigma[i], rounded*r.want.Value[i])
		r.want.Sigma[i] = math.Hypot(inherited, rounded*shifts[k])
	}
	return r
}

// sizeOf returns the size of an output, 1 at least. Sums of products in units of it do not
// overflow.
func sizeOf(values []float64) float64 { return math.Max(1, num.RMS(values)) }

// meanShift returns the mean error of each feature, over all rows.
func meanShift(in *input) []float64 {
	width := num.Last(in.comparison.WantShape)
	mean, rows := make([]float64, width), float64(len(in.got)/width)
	for i, w := range in.truth.Value {
		if d := in.got[i] - w; !math.IsNaN(d) {
			mean[i%width] += d / rows
		}
	}
	return mean
}
