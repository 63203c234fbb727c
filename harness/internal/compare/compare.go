// Package compare holds numbers against numbers: an output against the truth and the noise of a
// case. It knows nothing of attention.
package compare

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A float32 output is accepted when no element is further than MaxZ sigma from the truth and the
// root mean square over all elements is at most MaxRMSZ. Both are about twice the worst of
// 265,083 correct float32 outputs (8.1 and 0.87), and still near 5e-6 and 5e-7 of the output.
// Nothing widens them.
const (
	MaxZ    = 16
	MaxRMSZ = 1.5
)

// Where sigma is not computed but measured, from PyTorch's own results on jittered inputs, it is
// itself uncertain: over 56,560 correct outputs the largest z was 10.8 and rms z 1.01.
const (
	MeasuredMaxZ    = 20
	MeasuredMaxRMSZ = 2
)

// Limits are the greatest z, and root mean square of z, that are accepted.
type Limits struct{ Z, RMS float64 }

// Expected is what an output is held against: the truth, and for each element the standard
// deviation that rounding gives a correct implementation.
type Expected struct {
	Shape []int
	Value []float64
	Sigma []float64

	Measured bool // sigma was measured, not computed
}

func (e Expected) limits() Limits {
	if e.Measured {
		return Limits{MeasuredMaxZ, MeasuredMaxRMSZ}
	}
	return Limits{MaxZ, MaxRMSZ}
}

// Comparison is an output against what was expected.
type Comparison struct {
	GotShape, WantShape []int

	Limits   Limits // by which it is accepted
	Measured bool   // sigma was measured, not computed

	Elements  int // of the expected output
	Outside   int // elements further than Limits.Z sigma from the truth
	NonFinite int // of those, elements that are not finite, or finite where the truth is NaN

	MaxZ, RMSZ float64 // of |got - want| / sigma

	// Of the elements that are finite in both; NaN when there is none.
	Rel    float64 // RMS(got - want) / RMS(want)
	Gain   float64 // RMS(got) / RMS(want)
	Cosine float64 // of the angle between got and want; NaN also when either is zero

	Worst Element   // the largest z
	First []Element // the first elements outside the noise, at most five

	Z []float64 // of every element; nil when the shapes differ
}

// Element is one element of a comparison.
type Element struct {
	Index     []int
	Got, Want float64
	Allowed   float64 // Limits.Z sigma
	Z         float64
}

// Place writes the index: [2, 0, 31].
func (e Element) Place() string {
	return strings.ReplaceAll(fmt.Sprint(e.Index), " ", ", ")
}

// Outputs compares an output, as many elements as its shape says, with what was expected. When the
// shapes differ nothing else is compared. NaN where the truth is NaN is right; any other NaN or infinity is infinitely wrong
// and stays out of Rel, Gain and Cosine.
func Outputs(shape []int, got []float64, want Expected) Comparison {
	c := Comparison{GotShape: shape, WantShape: want.Shape, Limits: want.limits(), Measured: want.Measured, Elements: len(want.Value)}
	if !c.SameShape() {
		return c
	}
	c.Z = make([]float64, len(got))
	for i, g := range got {
		c.Z[i] = z(g, want.Value[i], want.Sigma[i])
		if c.Z[i] > c.Limits.Z {
			c.Outside++
			if !isFinite(g) || !isFinite(want.Value[i]) {
				c.NonFinite++
			}
		}
	}
	c.summarize(got, want)
	c.locate(got, want)
	return c
}

// SameShape says whether the output has the expected shape. Numbers mean nothing otherwise.
func (c Comparison) SameShape() bool { return slices.Equal(c.GotShape, c.WantShape) }

// OK says whether the output is what a correct implementation may give.
func (c Comparison) OK() bool {
	return c.SameShape() && c.Elements > 0 && c.MaxZ <= c.Limits.Z && c.RMSZ <= c.Limits.RMS
}

// z is the distance in sigma. An element without noise must be exact.
func z(got, want, sigma float64) float64 {
	switch {
	case math.IsNaN(want) && math.IsNaN(got), got == want:
		return 0
	case !isFinite(got) || !isFinite(want) || !(sigma > 0):
		return math.Inf(1)
	}
	return math.Abs(got-want) / sigma
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// summarize fills in what is said of the output as a whole. RMSZ is over the elements that have
// noise, so that exact ones (rows that see no key) do not dilute it.
func (c *Comparison) summarize(got []float64, want Expected) {
	var zz, noisy, gg, ww, gw, dd, finite float64
	for i, g := range got {
		w := want.Value[i]
		c.MaxZ = math.Max(c.MaxZ, c.Z[i])
		if want.Sigma[i] > 0 || c.Z[i] > 0 {
			zz += c.Z[i] * c.Z[i]
			noisy++
		}
		if isFinite(g) && isFinite(w) {
			finite++
			gg += g * g
			ww += w * w
			gw += g * w
			dd += (g - w) * (g - w)
		}
	}
	if noisy > 0 {
		c.RMSZ = math.Sqrt(zz / noisy)
	}
	c.Rel, c.Gain = math.NaN(), math.NaN()
	if finite > 0 {
		c.Rel, c.Gain = ratio(dd, ww), ratio(gg, ww)
	}
	c.Cosine = gw / math.Sqrt(gg) / math.Sqrt(ww)
}

// ratio is sqrt(a/b), and 0 when both are 0.
func ratio(a, b float64) float64 {
	if a == 0 && b == 0 {
		return 0
	}
	return math.Sqrt(a / b)
}

// locate finds the worst element and the first five that are outside the noise.
func (c *Comparison) locate(got []float64, want Expected) {
	const listed = 5
	worst := 0
	for i, z := range c.Z {
		if z > c.Z[worst] {
			worst = i
		}
		if z > c.Limits.Z && len(c.First) < listed {
			c.First = append(c.First, element(i, got, want, z))
		}
	}
	if len(c.Z) > 0 {
		c.Worst = element(worst, got, want, c.Z[worst])
	}
}

func element(i int, got []float64, want Expected, z float64) Element {
	return Element{
		Index: unravel(i, want.Shape), Got: got[i], Want: want.Value[i],
		Allowed: want.limits().Z * want.Sigma[i], Z: z,
	}
}

// unravel turns a place in row-major order into an index.
func unravel(i int, shape []int) []int {
	index := make([]int, len(shape))
	for d := len(shape) - 1; d >= 0; d-- {
		index[d] = i % shape[d]
		i /= shape[d]
	}
	return index
}
