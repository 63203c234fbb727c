package diagnose

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// factorsOrFunctions decides if the output follows from the expected one by factors of features or
// rows, or by a function of each element or row.
func factorsOrFunctions(in *input) *finding {
	if in.comparison.NonFinite > 0 {
		return nil
	}
	if f := related(in, clamped(in)); f != nil {
		return f
	}
	var all []*relation
	for _, f := range functions {
		all = append(all, applied(in, f.text, f.of))
	}
	for _, f := range rowFunctions {
		all = append(all, appliedToRows(in, f))
	}
	if f := related(in, all...); f != nil {
		return f
	}
	if f := related(in, softcapped(in)); f != nil { // tanh alone is a softcap of 1
		return f
	}
	return proportional(in)
}

// functions lists functions that code often applies to each element of a result.
var functions = []struct {
	text string
	of   func(float64) float64
}{
	{"the absolute value of the expected one", math.Abs},
	{"tanh of the expected one", math.Tanh},
	{"sigmoid of the expected one", num.Sigmoid},
	{"silu of the expected one", num.SiLU},
	{"gelu of the expected one", num.GELU},
	{"gelu of the expected one, by tanh", num.GELUTanh},
	{"the square of the expected one", func(v float64) float64 { return v * v }},
	{"exp of the expected one", math.Exp},
}

// fewestChanged is how many elements a function of each element must change, and a clamp leave as
// they are.
const fewestChanged = 8

// applied is a function of each expected element. It returns nil if the function changes too few
// elements.
func applied(in *input, text string, f func(float64) float64) *relation {
	return following(in, text, func(i int) (value, noise float64) {
		w, s := in.truth.Value[i], in.truth.Sigma[i]
		v := f(w)
		return v, math.Max(math.Abs(f(w+s)-v), math.Abs(f(w-s)-v))
	})
}

// following is an output that follows from the expected one. of returns an element, and the noise
// that the element inherits. following returns nil if too few elements change.
func following(in *input, text string, of func(i int) (value, noise float64)) *relation {
	const rounded = 0x1p-24
	r := &relation{text: text, step: true, want: compare.Expected{
		Shape: in.truth.Shape, Measured: in.truth.Measured,
		Value: make([]float64, len(in.got)), Sigma: make([]float64, len(in.got)),
	}}
	changed := 0
	for i, w := range in.truth.Value {
		v, noise := of(i)
		r.want.Value[i], r.want.Sigma[i] = v, math.Hypot(noise, rounded*v)
		if math.Abs(v-w) > in.comparison.Limits.Z*in.truth.Sigma[i] {
			changed++
		}
	}
	if changed < fewestChanged {
		return nil
	}
	return r
}

// softcapped is cap · tanh(w / cap) of each expected element w, as models cap logits. The cap
// comes from the output. softcapped returns nil if no cap brings the largest element to where the
// output is.
func softcapped(in *input) *relation {
	largest := 0
	for i, w := range in.truth.Value {
		if math.Abs(w) > math.Abs(in.truth.Value[largest]) {
			largest = i
		}
	}
	limit := capThat(in.truth.Value[largest], in.got[largest])
	if math.IsNaN(limit) {
		return nil
	}
	limit += stepOfCap(in, limit)
	text := fmt.Sprintf("the expected one behind a softcap of %.6g: %.6g·tanh(x/%.6g) for each element x",
		limit, limit, limit)
	r := applied(in, text, func(w float64) float64 { return limit * math.Tanh(w/limit) })
	if r != nil {
		r.fitted = 1
	}
	return r
}

// capThat returns the cap with cap · tanh(w / cap) = g; NaN if there is none.
func capThat(w, g float64) float64 {
	w, g = w*math.Copysign(1, g), math.Abs(g)
	if g == 0 || !(g < w) {
		return math.NaN()
	}
	low, high := math.Log(g)-1, math.Log(w)+20 // of the logarithm of the cap, which is g or more
	for range 100 {
		middle := (low + high) / 2
		if c := math.Exp(middle); c*math.Tanh(w/c) < g {
			low = middle
		} else {
			high = middle
		}
	}
	return math.Exp(high)
}

// stepOfCap returns the change of a cap that brings it nearest to all elements by least squares, in
// units of their noise.
func stepOfCap(in *input, limit float64) float64 {
	var against, squares float64
	for i, w := range in.truth.Value {
		t, s := math.Tanh(w/limit), in.truth.Sigma[i]
		slope := t - w/limit*(1-t*t) // the derivative by the cap
		if !(s > 0) {
			continue
		}
		against += slope / s * ((in.got[i] - limit*t) / s)
		squares += slope / s * (slope / s)
	}
	if squares == 0 {
		return 0
	}
	return against / squares
}

// dependence returns Chatterjee's xi: 1 if each element of an output is a function of the expected
// element, about 0 if they are unrelated. Source: Chatterjee, "A new coefficient of correlation",
// JASA 116 (2021), for values without ties.
func dependence(got, want []float64) float64 {
	n := len(got)
	ranks := make([]int, n)
	for rank, i := range sortedBy(got) {
		ranks[i] = rank
	}
	steps := 0.0
	order := sortedBy(want)
	for i := range n - 1 {
		steps += math.Abs(float64(ranks[order[i+1]] - ranks[order[i]]))
	}
	return 1 - 3*steps/(float64(n)*float64(n)-1)
}

// sortedBy returns the indices of values, the smallest value first.
func sortedBy(values []float64) []int {
	order := num.UpTo(len(values))
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	return order
}

// clamped is the expected output with large elements, small ones, or both cut to a bound. Each
// bound is taken from the output: the number that wrong elements on one side have in common. It
// returns nil if there is none.
func clamped(in *input) *relation {
	low, high := math.Inf(-1), math.Inf(1)
	lows, highs, right := 0, 0, 0
	for i, w := range in.truth.Value {
		g := in.got[i]
		switch off := in.comparison.Z[i] > in.comparison.Limits.Z; {
		case !off:
			right++
		case g > w && (lows == 0 || g == low):
			low = g
			lows++
		case g < w && (highs == 0 || g == high):
			high = g
			highs++
		default:
			return nil
		}
	}
	if lows+highs == 0 || lows > 0 && lows < fewestChanged || highs > 0 && highs < fewestChanged ||
		right < fewestChanged || low >= high {
		return nil
	}
	r := &relation{text: clampText(low, high), step: true, want: compare.Expected{
		Shape: in.truth.Shape, Sigma: in.truth.Sigma, Measured: in.truth.Measured,
		Value: make([]float64, len(in.got)),
	}}
	for i, w := range in.truth.Value {
		r.want.Value[i] = math.Max(low, math.Min(high, w))
	}
	return r
}

func clampText(low, high float64) string {
	if low == 0 && math.IsInf(high, 1) {
		return "the expected one with every negative element set to zero, as relu does"
	}
	var words []string
	if !math.IsInf(low, -1) {
		words = append(words, fmt.Sprintf("every element below %.7g set to it", low))
	}
	if !math.IsInf(high, 1) {
		words = append(words, fmt.Sprintf("every element above %.7g set to it", high))
	}
	return "the expected one with " + strings.Join(words, ", and ")
}

// fewerBits decides if the output is the expected one, rounded once to fewer bits: every element is
// a number of the smaller type, and next to the expected one.
func fewerBits(in *input) *finding {
	for _, p := range []struct {
		name      string
		precision oracle.Precision
	}{{"float16", oracle.Float16}, {"bfloat16", oracle.BFloat16}} {
		if roundedTo(in, p.precision) {
			return findingf(Rounding, "the output is the expected one, rounded once to %s", p.name)
		}
	}
	return nil
}

func roundedTo(in *input, p oracle.Precision) bool {
	wrong := 0
	for i, w := range in.truth.Value {
		g, reach := in.got[i], in.comparison.Limits.Z*in.truth.Sigma[i]
		if p.Round(g) != g || g < p.Round(w-reach) || g > p.Round(w+reach) {
			return false
		}
		if in.comparison.Z[i] > in.comparison.Limits.Z {
			wrong++
		}
	}
	return wrong >= fewestChanged
}
