package compare

import "math"

// Running compares two arrays of the same shape that come in blocks, without any noise. It keeps
// none of their elements.
type Running struct {
	shape    []int
	elements int
	differ   int // pairs that are not equal; NaN equals NaN

	first, furthest, mostUnits pair // mostUnits is furthest apart in units
	sums                       sums

	unitOfGot, unitOfWant *[exponents]float64 // nil unless distances are counted in units
	beyond                int
	distances             histogram // of the pairs that differ, in units
}

// exponents is the number of different exponents of float64.
const exponents = 1 << 11

// pair is a pair of elements, and their distance.
type pair struct {
	index     int
	got, want float64
	off       float64
}

// NewRunning compares arrays of a shape.
func NewRunning(shape []int) *Running { return &Running{shape: shape, sums: newSums()} }

// InUnits makes [Running.Units] count distances in units in the last place. ofGot and ofWant return
// the unit of a magnitude in the type of each array. The exponent of the magnitude decides.
func (r *Running) InUnits(ofGot, ofWant func(float64) float64) *Running {
	r.unitOfGot, r.unitOfWant = byExponent(ofGot), byExponent(ofWant)
	return r
}

func byExponent(unit func(float64) float64) *[exponents]float64 {
	var table [exponents]float64
	table[0] = unit(0)
	for e := 1; e < exponents-1; e++ {
		table[e] = unit(math.Ldexp(1, e-1023))
	}
	return &table
}

// Add compares the next elements of both arrays.
func (r *Running) Add(got, want []float64) {
	if r.elements == 0 && len(got) > 0 {
		r.first = pair{0, got[0], want[0], Distance(got[0], want[0])}
		r.furthest, r.mostUnits = r.first, pair{0, got[0], want[0], 0}
	}
	finite := true
	for i, g := range got {
		w := want[i]
		finite = finite && g-g == 0 && w-w == 0
		if g != w && (g == g || w == w) {
			r.addDifferent(pair{r.elements + i, g, w, 0})
		}
	}
	r.elements += len(got)
	if !finite {
		got, want = finitePairs(got, want)
	}
	r.sums.add(got, want)
}

// addDifferent notes the distance of two elements that differ.
func (r *Running) addDifferent(p pair) {
	r.differ++
	p.off = Distance(p.got, p.want)
	if p.off > r.furthest.off {
		r.furthest = p
	}
	if r.unitOfGot == nil {
		return
	}
	if !math.IsInf(p.off, 1) {
		exponent := math.Float64bits(math.Max(math.Abs(p.got), math.Abs(p.want))) >> 52
		a, b := r.unitOfGot[exponent], r.unitOfWant[exponent]
		beyond := p.off-(a/2+b/2) > 0
		if p.off /= math.Max(a, b); beyond {
			r.beyond++
		}
	} else {
		r.beyond++
	}
	r.distances.add(p.off)
	if p.off > r.mostUnits.off {
		r.mostUnits = p
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
