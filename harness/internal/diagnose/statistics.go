package diagnose

import (
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
)

// constant says whether blocks of the given width all repeat the first.
func constant(values []float64, width int) bool {
	for i := width; i < len(values); i++ {
		if values[i] != values[i-width] {
			return false
		}
	}
	return true
}

// noiseOfRows is the root mean square z of each row that sees a key.
func (e *evidence) noiseOfRows() []float64 {
	width := num.Last(e.c.WantShape)
	var noise []float64
	for row, visible := range e.visible {
		if visible > 0 {
			noise = append(noise, num.RMS(e.c.Z[row*width:][:width]))
		}
	}
	return noise
}

// noiseOfFeatures is the root mean square z of each place in the last dimension, over the rows
// that see a key.
func (e *evidence) noiseOfFeatures() []float64 {
	width := num.Last(e.c.WantShape)
	noise := make([]float64, width)
	for f := range noise {
		var column []float64
		for row, visible := range e.visible {
			if visible > 0 {
				column = append(column, e.c.Z[row*width+f])
			}
		}
		noise[f] = num.RMS(column)
	}
	return noise
}

// spread is the ratio of the greatest to the least value; infinite where some are 0.
func spread(values []float64) float64 {
	if len(values) == 0 {
		return math.Inf(1)
	}
	return slices.Max(values) / slices.Min(values)
}

// copied says whether a row of the output is equal to an earlier or later one.
func (e *evidence) copied(row int) bool {
	width := num.Last(e.c.WantShape)
	values := e.got[row*width:][:width]
	for other := range len(e.got) / width {
		if other != row && slices.Equal(values, e.got[other*width:][:width]) {
			return true
		}
	}
	return false
}

// towards is the cosine between an output's error and that of another result, both in sigma; 0 where
// either has none.
func towards(got []float64, truth, other compare.Expected) float64 {
	ab, aa, bb := products(got, truth, other)
	if aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}

// towards is that of the part's error and a mistake's.
func (p part) towards(wrong []float64) float64 {
	return towards(p.got, p.truth, compare.Expected{Value: wrong})
}

// share is how far an output went on the way from the truth to another result: 0 not at all, 1 all of it;
// NaN where that is no way at all.
func share(got []float64, truth, other compare.Expected) float64 {
	ab, _, bb := products(got, truth, other)
	return ab / bb
}

// products are those of an output's error a and another result's b, in sigma.
func products(got []float64, truth, other compare.Expected) (ab, aa, bb float64) {
	for i, w := range truth.Value {
		if s := truth.Sigma[i]; s > 0 {
			a, b := (got[i]-w)/s, (other.Value[i]-w)/s
			ab, aa, bb = ab+a*b, aa+a*a, bb+b*b
		}
	}
	return ab, aa, bb
}

// along is how far the error points in a direction of as many values, from 0 to 1.
func (e *evidence) along(direction []float64) float64 {
	if len(direction) != len(e.got) {
		return 0
	}
	var ab, aa, bb float64
	for i, v := range direction {
		if d := e.got[i] - e.truth.Value[i]; !math.IsNaN(d) {
			ab, aa, bb = ab+d*v, aa+d*d, bb+v*v
		}
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return math.Abs(ab) / math.Sqrt(aa*bb)
}

// shifted is how much of the error is the same in every row, from 0 to 1.
func (e *evidence) shifted() float64 {
	width, all := num.Last(e.c.WantShape), 0.0
	rows := float64(len(e.got) / width)
	for i, w := range e.truth.Value {
		if d := e.got[i] - w; !math.IsNaN(d) {
			all += d * d / rows
		}
	}
	return num.RMS(e.shift()) * math.Sqrt(float64(width)/all)
}

// wrongRows says for every row whether it is outside the noise.
func wrongRows(c compare.Comparison) []bool {
	width := num.Last(c.WantShape)
	wrong := make([]bool, len(c.Z)/width)
	for row := range wrong {
		wrong[row] = slices.Max(c.Z[row*width:][:width]) > c.Limits.Z
	}
	return wrong
}

// rightRows counts the rows that see a key and are within the noise.
func (e *evidence) rightRows() int {
	n := 0
	for row, wrong := range wrongRows(e.c) {
		if !wrong && e.visible[row] > 0 {
			n++
		}
	}
	return n
}
