package compare

import "math"

// Running compares two arrays of the same shape that come in blocks, without any noise. It keeps
// none of their elements.
type Running struct {
	shape    []int
	elements int
	differ   int // pairs that are not equal; NaN equals NaN

	furthest, mostUnits pair // mostUnits is furthest apart in units
	sums                sums

	units     *units    // nil unless distances are counted in units
	beyond    int       // pairs further apart than half a unit of each
	distances histogram // of the pairs that differ, in units
}

// exponents is the number of different exponents of float64.
const exponents = 1 << 11

// pair is a pair of elements, and their distance.
type pair struct {
	index     int
	got, want float64
	off       float64
}

// units holds, for each exponent of a magnitude, the larger unit of the two types, and the sum of
// half a unit of each.
type units struct{ larger, half [exponents]float64 }

// NewRunning compares arrays of a shape.
func NewRunning(shape []int) *Running { return &Running{shape: shape, sums: newSums()} }

// InUnits makes [Running.Units] count distances in units in the last place. ofGot and ofWant return
// the unit of a magnitude in the type of each array. The exponent of the magnitude decides.
func (r *Running) InUnits(ofGot, ofWant func(float64) float64) *Running {
	r.units = &units{}
	for e := range exponents - 1 {
		magnitude := 0.0
		if e > 0 {
			magnitude = math.Ldexp(1, e-1023)
		}
		a, b := ofGot(magnitude), ofWant(magnitude)
		r.units.larger[e], r.units.half[e] = math.Max(a, b), a/2+b/2
	}
	return r
}

// Add compares the next elements of both arrays.
func (r *Running) Add(got, want []float64) {
	if r.elements == 0 && len(got) > 0 {
		r.furthest = pair{got: got[0], want: want[0]}
		r.mostUnits = r.furthest
	}
	want = want[:len(got)]
	for i, g := range got {
		if w := want[i]; g != w && (g == g || w == w) {
			r.addDifferent(r.elements+i, g, w)
		}
	}
	r.elements += len(got)
	r.sums.add(got, want)
}

// addDifferent notes the distance of two elements that differ.
func (r *Running) addDifferent(index int, got, want float64) {
	r.differ++
	off := math.Abs(got - want)
	if off != off {
		off = math.Inf(1)
	}
	if off > r.furthest.off {
		r.furthest = pair{index, got, want, off}
	}
	if r.units == nil {
		return
	}
	if off <= math.MaxFloat64 {
		exponent := max(math.Float64bits(got)<<1, math.Float64bits(want)<<1) >> 53
		if off > r.units.half[exponent] {
			r.beyond++
		}
		off /= r.units.larger[exponent]
	} else {
		r.beyond++
	}
	r.distances.add(off)
	if off > r.mostUnits.off {
		r.mostUnits = pair{index, got, want, off}
	}
}

// finitePairs returns the pairs of finite elements.
func finitePairs(got, want []float64) (a, b []float64) {
	for i, g := range got {
		if w := want[i]; isFinite(g) && isFinite(w) {
			a, b = append(a, g), append(b, w)
		}
	}
	return a, b
}

// Difference returns the result without units.
func (r *Running) Difference() Difference {
	d := Difference{Elements: r.elements, Equal: r.elements - r.differ, Largest: r.element(r.furthest)}
	d.Rel, d.Gain, d.Cosine = r.sums.summary()
	return d
}

// Units returns the result in units.
func (r *Running) Units() Units {
	return Units{
		Median: r.distances.median(r.elements - r.differ), Largest: r.element(r.mostUnits), Beyond: r.beyond,
	}
}

func (r *Running) element(p pair) Element {
	if r.elements == 0 {
		return Element{}
	}
	return Element{Index: unravel(p.index, r.shape), Got: p.got, Want: p.want, Z: p.off}
}
