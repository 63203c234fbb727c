package diagnose

import (
	"math"
	"slices"

	"github.com/difftest/difftest/harness/compare"
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

// rowNoise gives the least and the greatest root mean square z of the rows that mix values,
// those that see two keys or more.
func (e *evidence) rowNoise() (least, most float64) {
	width := last(e.c.WantShape)
	least = math.Inf(1)
	for row, visible := range e.visible {
		if visible >= 2 {
			z := rms(e.c.Z[row*width:][:width])
			least, most = math.Min(least, z), math.Max(most, z)
		}
	}
	return least, most
}

// towards is the cosine between the output's error and a mistake's, both in sigma.
func (e *evidence) towards(wrong compare.Expected) float64 {
	var ab, aa, bb float64
	for i, w := range e.truth.Value {
		if s := e.truth.Sigma[i]; s > 0 {
			a, b := (e.got[i]-w)/s, (wrong.Value[i]-w)/s
			ab, aa, bb = ab+a*b, aa+a*a, bb+b*b
		}
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}

// gained is how far the error points along the truth itself, from 0 to 1.
func (e *evidence) gained() float64 {
	var ab, aa, bb float64
	for i, w := range e.truth.Value {
		if d := e.got[i] - w; !math.IsNaN(d) {
			ab, aa, bb = ab+d*w, aa+d*d, bb+w*w
		}
	}
	return math.Abs(ab) / math.Sqrt(aa*bb)
}

// shifted is how much of the error is the same in every row, from 0 to 1.
func (e *evidence) shifted() float64 {
	width := last(e.c.WantShape)
	mean, all := make([]float64, width), 0.0
	rows := float64(len(e.got) / width)
	for i, w := range e.truth.Value {
		if d := e.got[i] - w; !math.IsNaN(d) {
			mean[i%width] += d / rows
			all += d * d / rows
		}
	}
	return rms(mean) * math.Sqrt(float64(width)/all)
}

// wrongRows says for every row whether it is outside the noise.
func (e *evidence) wrongRows(c compare.Comparison) []bool {
	width := last(c.WantShape)
	wrong := make([]bool, len(c.Z)/width)
	for row := range wrong {
		wrong[row] = slices.Max(c.Z[row*width:][:width]) > compare.MaxZ
	}
	return wrong
}

// rightRows counts the rows that see a key and are within the noise.
func (e *evidence) rightRows() int {
	n := 0
	for row, wrong := range e.wrongRows(e.c) {
		if !wrong && e.visible[row] > 0 {
			n++
		}
	}
	return n
}
