package coverage

import (
	"math/bits"
	"slices"
)

// smallestCover returns the fewest sets that together hold every element of all sets, as indices in
// order. The result is exact. It is found by branch and bound: each step branches over the sets
// that hold the rarest element.
func smallestCover(sets []bitset) []int {
	all := bitset{}
	for _, s := range sets {
		all = all.union(s)
	}
	useful := undominated(sets)
	best := greedyCover(sets, useful, all)
	var chosen []int
	var search func(left bitset)
	search = func(left bitset) {
		if left.empty() {
			if len(chosen) < len(best) {
				best = slices.Clone(chosen)
			}
			return
		}
		most := 1
		for _, i := range useful {
			most = max(most, sets[i].common(left))
		}
		if len(chosen)+(left.count()+most-1)/most >= len(best) {
			return // even sets as large as the largest are too many
		}
		for _, i := range rarest(sets, useful, left) {
			chosen = append(chosen, i)
			search(left.without(sets[i]))
			chosen = chosen[:len(chosen)-1]
		}
	}
	search(all)
	slices.Sort(best)
	return best
}

// undominated leaves out each set that is a part of another. Of equal sets it keeps the first.
func undominated(sets []bitset) []int {
	var useful []int
	for i, s := range sets {
		dominated := s.empty()
		for j, other := range sets {
			if i != j && s.without(other).empty() && (!other.without(s).empty() || j < i) {
				dominated = true
			}
		}
		if !dominated {
			useful = append(useful, i)
		}
	}
	return useful
}

// greedyCover takes, again and again, the set with the most elements of left, and removes them.
func greedyCover(sets []bitset, useful []int, left bitset) []int {
	var chosen []int
	for !left.empty() {
		best := slices.MaxFunc(useful, func(a, b int) int { return sets[a].common(left) - sets[b].common(left) })
		chosen = append(chosen, best)
		left = left.without(sets[best])
	}
	return chosen
}

// rarest returns the sets that hold the rarest element of left.
func rarest(sets []bitset, useful []int, left bitset) []int {
	var fewest []int
	for element := range left.elements() {
		var holders []int
		for _, i := range useful {
			if sets[i].has(element) {
				holders = append(holders, i)
			}
		}
		if fewest == nil || len(holders) < len(fewest) {
			fewest = holders
		}
		if len(fewest) == 1 {
			break
		}
	}
	return fewest
}

// bitset is a set of small non-negative numbers.
type bitset []uint64

func (b bitset) add(n int) bitset {
	for len(b) <= n/64 {
		b = append(b, 0)
	}
	b[n/64] |= 1 << (n % 64)
	return b
}

func (b bitset) has(n int) bool { return n/64 < len(b) && b[n/64]>>(n%64)&1 == 1 }

func (b bitset) count() int {
	n := 0
	for _, word := range b {
		n += bits.OnesCount64(word)
	}
	return n
}

func (b bitset) empty() bool { return b.count() == 0 }

func (b bitset) union(other bitset) bitset {
	out := slices.Clone(b)
	for len(out) < len(other) {
		out = append(out, 0)
	}
	for i, word := range other {
		out[i] |= word
	}
	return out
}

func (b bitset) without(other bitset) bitset {
	out := slices.Clone(b)
	for i := range min(len(out), len(other)) {
		out[i] &^= other[i]
	}
	return out
}

// common counts the elements that two sets share.
func (b bitset) common(other bitset) int {
	n := 0
	for i := range min(len(b), len(other)) {
		n += bits.OnesCount64(b[i] & other[i])
	}
	return n
}

// elements yields the numbers in order.
func (b bitset) elements() func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for n := range 64 * len(b) {
			if b.has(n) && !yield(n) {
				return
			}
		}
	}
}
