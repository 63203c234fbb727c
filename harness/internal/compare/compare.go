// Package compare compares numbers: an output with the truth and the noise of a case, or two arrays
// with each other. It knows nothing about attention.
package compare

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// An output is accepted if no element is further than MaxZ sigma from the truth, and if the root
// mean square of the distances in sigma is at most MaxRMSZ. Correct implementations stay well below
// both limits: harness/CALIBRATION.md has the measurements. Only outputs of few elements have a
// larger limit of the root mean square: see [Limits.of].
const (
	MaxZ    = 16
	MaxRMSZ = 1.5
)

// MeasuredMaxZ and MeasuredMaxRMSZ are the limits where sigma is not computed but measured, from
// PyTorch's own results on jittered inputs. A measured sigma is itself uncertain.
const (
	MeasuredMaxZ    = 20
	MeasuredMaxRMSZ = 2
)

// Limits are the largest accepted z, and the largest accepted root mean square of z.
type Limits struct{ Z, RMS float64 }

// of returns the limits of an output with some number of elements. The mean of n squares of z, with
// deviation 1 each, has the deviation sqrt(2/n). Six such deviations are above MaxRMSZ for fewer
// than 46 elements. One element may be 3.1 sigma off, as one element in 500 is.
func (l Limits) of(elements float64) Limits {
	l.RMS = math.Min(l.Z, math.Max(l.RMS, math.Sqrt(1+6*math.Sqrt(2/elements))))
	return l
}

// Expected is the result to compare an output with.
type Expected struct {
	Shape []int
	// Value is the truth.
	Value []float64
	// Sigma is the standard deviation that rounding gives to each element in a correct
	// implementation.
	Sigma []float64
	// Measured is set if sigma was measured, not computed.
	Measured bool
	// Padded has an element for each row of padded tokens or others, which has elements of its own;
	// nil if every row is judged. See [Expected.WithPadding].
	Padded []bool
}

// Limits returns the limits by which an output is accepted.
func (e Expected) Limits() Limits {
	if e.Measured {
		return Limits{MeasuredMaxZ, MeasuredMaxRMSZ}
	}
	return Limits{MaxZ, MaxRMSZ}
}

// Comparison is the result of comparing an output with the expected one. z is the distance of an
// element from the truth in sigma, |got - want| / sigma.
type Comparison struct {
	GotShape, WantShape []int

	// Limits are the limits by which the output is accepted.
	Limits Limits
	// Measured is set if sigma was measured, not computed.
	Measured bool

	// Elements is the number of elements that were compared.
	Elements int
	// Rows is the number of rows, and Padded the number of rows that do not matter. Both are 0 if
	// every row matters.
	Rows, Padded int
	// Outside counts the elements whose z is larger than Limits.Z.
	Outside int
	// NonFinite counts the elements outside that are not finite, or are finite where the truth is
	// NaN.
	NonFinite int

	// MaxZ is the largest z. RMSZ is the root mean square of z over the elements that have noise:
	// exact ones, as in rows that see no key, do not dilute it.
	MaxZ, RMSZ float64

	// Rel, Gain and Cosine are computed from the elements that are finite in both arrays. They are
	// NaN if there are none; Cosine is NaN also if one of the arrays is zero.
	Rel    float64 // RMS(got - want) / RMS(want)
	Gain   float64 // RMS(got) / RMS(want)
	Cosine float64 // of the angle between got and want

	// Worst is the element with the largest z. First are the first elements outside, at most five.
	Worst Element
	First []Element

	// Z holds the z of every element; nil if the shapes differ.
	Z []float64
}

// Element is one element of a comparison.
type Element struct {
	Index     []int
	Got, Want float64
	Allowed   float64 // Limits.Z times sigma
	Z         float64
}

// Place returns the index in the form [2, 0, 31].
func (e Element) Place() string {
	return strings.ReplaceAll(fmt.Sprint(e.Index), " ", ", ")
}

// Outputs compares an output with the expected one. The output has as many elements as its shape
// says. If the shapes differ, nothing else is compared. NaN is right where the truth is NaN. Any
// other NaN or infinity has an infinite z, and does not count in Rel, Gain and Cosine.
func Outputs(shape []int, got []float64, want Expected) Comparison {
	c := Comparison{
		GotShape: shape, WantShape: want.Shape,
		Limits: want.Limits(), Measured: want.Measured, Elements: len(want.Value),
		Rows: len(want.Padded), Padded: countTrue(want.Padded),
	}
	if c.Padded > 0 {
		c.Elements -= c.Padded * want.perRow()
	}
	if !c.SameShape() {
		return c
	}
	got = want.Blank(got)
	c.Z = make([]float64, len(got))
	for i := range c.Z {
		g := got[i]
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

// SameShape reports whether the output has the expected shape. Otherwise no numbers were compared.
func (c Comparison) SameShape() bool { return slices.Equal(c.GotShape, c.WantShape) }

// OK reports whether a correct implementation may give this output.
func (c Comparison) OK() bool {
	return c.SameShape() && c.Elements > 0 && c.MaxZ <= c.Limits.Z && c.RMSZ <= c.Limits.RMS
}

// z returns the distance in sigma. An element without noise must be exact.
func z(got, want, sigma float64) float64 {
	switch {
	case got == want, math.IsNaN(want) && math.IsNaN(got):
		return 0
	case !isFinite(got) || !isFinite(want) || !(sigma > 0):
		return math.Inf(1)
	}
	return math.Abs(got-want) / sigma
}

func isFinite(v float64) bool { return v-v == 0 }

// summarize computes the numbers that describe the output as a whole. Powers of two bring every
// array near 1 first: the square of a finite number may overflow.
func (c *Comparison) summarize(got []float64, want Expected) {
	var zz, noisy, gg, ww, gw, dd, finite float64
	ofGot, ofWant, ofZ := toUnit(got), toUnit(want.Value), toUnit(c.Z)
	ofBoth := math.Min(ofGot, ofWant)
	value, sigma, distances := want.Value[:len(got)], want.Sigma[:len(got)], c.Z[:len(got)]
	for i, g := range got {
		w, z := value[i], distances[i]
		if sigma[i] > 0 || z > 0 {
			zz += square(z * ofZ)
			noisy++
		}
		if isFinite(g) && isFinite(w) {
			finite++
			gg += square(g * ofGot)
			ww += square(w * ofWant)
			gw += g * ofGot * (w * ofWant)
			dd += square(g*ofBoth - w*ofBoth)
		}
	}
	if noisy > 0 {
		c.Limits = c.Limits.of(noisy)
		c.RMSZ = math.Sqrt(zz/noisy) / ofZ
	}
	c.Rel, c.Gain = math.NaN(), math.NaN()
	if finite > 0 {
		c.Rel, c.Gain = ratio(dd, ww)/ofBoth*ofWant, ratio(gg, ww)/ofGot*ofWant
	}
	c.Cosine = gw / math.Sqrt(gg) / math.Sqrt(ww)
}

// toUnit returns the power of two that brings the largest finite magnitude to 1/2 or more, and
// below 1. It returns 1 if all are zero.
func toUnit(values []float64) float64 {
	largest := 0.0
	for _, v := range values {
		if a := math.Abs(v); a > largest && a <= math.MaxFloat64 {
			largest = a
		}
	}
	if largest == 0 {
		return 1
	}
	const most = 1022 // larger powers overflow, smaller ones lose bits
	_, exponent := math.Frexp(largest)
	return math.Ldexp(1, max(-most, min(most, -exponent)))
}

func square(v float64) float64 { return v * v }

// ratio returns sqrt(a/b), and 0 if both are 0.
func ratio(a, b float64) float64 {
	if a == 0 && b == 0 {
		return 0
	}
	return math.Sqrt(a / b)
}

// locate finds the worst element, with its z, and the first elements outside.
func (c *Comparison) locate(got []float64, want Expected) {
	const listed = 5
	worst := 0
	for i, z := range c.Z {
		if z > c.MaxZ {
			worst, c.MaxZ = i, z
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
		Allowed: want.Limits().Z * want.Sigma[i], Z: z,
	}
}

// unravel turns a flat index in row-major order into one index for each dimension.
func unravel(i int, shape []int) []int {
	index := make([]int, len(shape))
	for d := len(shape) - 1; d >= 0; d-- {
		index[d] = i % shape[d]
		i /= shape[d]
	}
	return index
}
