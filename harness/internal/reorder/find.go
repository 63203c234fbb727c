package reorder

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
)

const (
	// fewest is how many values that the noise tells apart an output must have. A few values fit
	// several orders by chance.
	fewest = 8
	// mostAxes bounds the permutations of a view: 720 of six axes.
	mostAxes = 6
	// longest bounds the search for an order of indices, which compares each with each.
	longest = 2048
	// sampled is how many elements tell orders apart. Two orders of axes differ in most elements.
	sampled = 4096
)

// Find returns the orders that turn an output into the expected one, within the noise. Each moves
// other elements than the others; more than one fits if expected values repeat. An order that only
// changes the shape is returned alone. Find returns nil if the output has another number of
// elements, or too few values to tell orders apart.
func Find(shape []int, got []float64, want compare.Expected) []Order {
	if len(got) != len(want.Value) || len(got) == 0 {
		return nil
	}
	s := search{shape: shape, got: got, want: want, limit: want.Limits().Z, step: step(len(got))}
	if len(want.Padded) == 0 && !s.sameSum() || s.distinct() < fewest {
		return nil
	}
	own := view(want.Shape)
	s.try(Order{View: own, Axes: upTo(len(own))})
	if len(s.found) > 0 {
		return s.found
	}
	all := splits(want.Shape)
	for i, split := range all {
		first := 0
		if i > 0 {
			first = len(split) - 2 // the axes before the cut one were tried
		}
		s.permutations(split)
		s.shifts(split, first)
	}
	if len(s.found) == 0 {
		s.anyOrders(all)
	}
	return s.found
}

// search collects the orders of one output.
type search struct {
	shape []int
	got   []float64
	want  compare.Expected
	limit float64 // the largest accepted z
	step  int     // from one compared element to the next; it has no divisor with their number

	found []Order
}

// step returns a number near the golden part of n that has no divisor with it.
func step(n int) int {
	s := max(1, int(float64(n)*0.618))
	for gcd(s, n) > 1 {
		s++
	}
	return s
}

func gcd(a, b int) int {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}

// sameSum reports whether the sums of both arrays agree as far as noise allows. No order changes a
// sum. NaN in both does not count.
func (s *search) sameSum() bool {
	got, want, noise := 0.0, 0.0, 0.0
	for i, w := range s.want.Value {
		if g := s.got[i]; !math.IsNaN(g) {
			got += g
		}
		if !math.IsNaN(w) {
			want += w
			noise += s.limit*s.want.Sigma[i] + 1e-12*math.Abs(w)
		}
	}
	return got == want || math.Abs(got-want) <= noise
}

// distinct counts expected values that the noise tells apart, in a sample.
func (s *search) distinct() int {
	var order []int
	value := s.want.Value
	for at := range s.sample() {
		if !math.IsNaN(value[at]) && !math.IsInf(value[at], 0) {
			order = append(order, at)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(value[a], value[b]) })
	n, end := 0, math.Inf(-1)
	for _, i := range order {
		if reach := s.limit * s.want.Sigma[i]; value[i]-reach > end {
			n++
			end = value[i] + reach
		}
	}
	return n
}

// sample returns the places of some elements, spread over the array.
func (s *search) sample() iter.Seq[int] {
	return func(yield func(int) bool) {
		at := 0
		for range min(sampled, len(s.got)) {
			if !yield(at) {
				return
			}
			at = (at + s.step) % len(s.got)
		}
	}
}

// try adds an order if the output in this order is the expected one, and no order before it moves
// the same elements.
func (s *search) try(o Order) {
	source := o.sources()
	for at := range s.sample() {
		if !s.near(source(at), at) {
			return
		}
	}
	if s.has(source) {
		return
	}
	moved := make([]float64, len(s.got))
	for i := range moved {
		moved[i] = s.got[source(i)]
	}
	c := compare.Outputs(s.want.Shape, moved, s.want)
	if !c.OK() {
		return
	}
	o.Got, o.Want, o.Residual, o.MaxZ = s.shape, s.want.Shape, c.Rel, c.MaxZ
	s.found = append(s.found, o)
}

// has reports whether an order that was found moves the same elements to the same places.
func (s *search) has(source func(int) int) bool {
	return slices.ContainsFunc(s.found, func(o Order) bool {
		other := o.sources()
		for at := range s.sample() {
			if source(at) != other(at) {
				return false
			}
		}
		return true
	})
}

// near reports whether the output's element at from can be the expected element at to.
func (s *search) near(from, to int) bool {
	if !s.want.Judged(to) {
		return true
	}
	g, w := s.got[from], s.want.Value[to]
	if g == w || math.IsNaN(g) && math.IsNaN(w) {
		return true
	}
	return math.Abs(g-w) <= s.limit*s.want.Sigma[to]
}

// permutations tries every permutation of a view's axes, in both directions: the output is the
// permuted expected one, or the permuted output is the expected one. Axes may be reversed, too.
func (s *search) permutations(split []int) {
	if len(split) > mostAxes {
		return
	}
	stay := upTo(len(split))
	for _, flips := range subsets(len(split)) {
		s.try(Order{View: split, Axes: stay, Flips: flips})
	}
	for _, axes := range permutationsOf(stay) {
		if slices.Equal(axes, stay) {
			continue
		}
		permuted := Order{View: split, Axes: axes}
		inverse := make([]int, len(axes))
		for i, axis := range axes {
			inverse[axis] = i
		}
		for _, o := range []Order{{View: permuted.shape(), Axes: inverse}, permuted} {
			for _, flips := range subsets(len(split)) {
				o.Flips = flips
				s.try(o)
			}
		}
	}
}

// shifts tries to shift the indices along each axis of a view from the first, all axes staying.
func (s *search) shifts(split []int, first int) {
	for along, n := range split {
		if along < first {
			continue
		}
		o := Order{View: split, Axes: upTo(len(split)), Along: along}
		for shift := 1; shift < min(n, longest); shift++ {
			o.Indices = shifted(n, shift)
			s.try(o)
		}
	}
}

// anyOrders looks for any order of the indices along one axis of the views, short axes first.
func (s *search) anyOrders(views [][]int) {
	var all []Order
	for _, split := range views {
		for along := range split {
			all = append(all, Order{View: split, Axes: upTo(len(split)), Along: along})
		}
	}
	slices.SortStableFunc(all, func(a, b Order) int { return a.View[a.Along] - b.View[b.Along] })
	for _, o := range all {
		if o.Indices = s.matched(o.View, o.Along); o.Indices != nil {
			s.try(o)
		}
	}
}

// matched returns, for each expected slice across an axis, the index of the output's slice that
// equals it. It returns nil if a slice has none or several, or if the axis is too long.
func (s *search) matched(split []int, along int) []int {
	n := split[along]
	if n > longest {
		return nil
	}
	inner := num.Size(split[along+1:])
	order, taken := make([]int, n), make([]bool, n)
	for j := range n {
		order[j] = -1
		for k := range n {
			if !s.sameSlice(k, j, n, inner) {
				continue
			}
			if order[j] >= 0 || taken[k] {
				return nil
			}
			order[j], taken[k] = k, true
		}
		if order[j] < 0 {
			return nil
		}
	}
	return order
}

// sameSlice reports whether slice k of the output can be the expected slice j, across an axis of n
// indices that are inner elements apart.
func (s *search) sameSlice(k, j, n, inner int) bool {
	for block := 0; block < len(s.got); block += n * inner {
		for i := range inner {
			if !s.near(block+k*inner+i, block+j*inner+i) {
				return false
			}
		}
	}
	return true
}

// upTo returns 0, 1, ..., n-1.
func upTo(n int) []int { return shifted(n, 0) }

func shifted(n, by int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = (i + by) % n
	}
	return list
}

// subsets returns all sets of the numbers below n, small numbers first.
func subsets(n int) [][]int {
	all := [][]int{nil}
	for i := range n {
		for _, set := range slices.Clone(all) {
			all = append(all, append(slices.Clone(set), i))
		}
	}
	slices.SortStableFunc(all, func(a, b []int) int { return len(a) - len(b) })
	return all
}

// permutationsOf returns all orders of a list, in lexical order of places.
func permutationsOf(list []int) [][]int {
	if len(list) == 0 {
		return [][]int{{}}
	}
	var all [][]int
	for i, first := range list {
		rest := slices.Concat(list[:i], list[i+1:])
		for _, tail := range permutationsOf(rest) {
			all = append(all, append([]int{first}, tail...))
		}
	}
	return all
}
