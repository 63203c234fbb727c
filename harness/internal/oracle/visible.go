package oracle

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
)

// Visible returns for each row of the result, (..., L), the number of scores in its softmax: the
// keys that the query sees, and a sink. It is 0 if the query sees no key. If the heads of a layer
// see different numbers of keys, the row counts as seeing at least two. It is 1 without attention.
func (p *Problem) Visible() []int {
	if p.Turn != nil {
		return slices.Repeat([]int{1}, len(p.Query.Value)/num.Last(p.Query.Shape))
	}
	appended := 0
	if l := p.Layer; l != nil && l.LearnedKey != nil {
		appended++
	}
	if l := p.Layer; l != nil && l.ZeroKey {
		appended++
	}
	scores := p.scores()
	m := p.masks(num.Last(scores) + appended)
	heads := 1
	if p.Layer != nil {
		heads = m.heads
	}
	var counts []int
	for first := 0; first < num.Size(scores[:len(scores)-2]); first += heads {
		for i := range m.queries {
			counts = append(counts, m.visibleInRow(first, heads, i))
		}
	}
	return counts
}

// visibleInRow returns the number that Visible describes for query i of heads from first on.
func (m *masks) visibleInRow(first, heads, i int) int {
	count := m.count(first, i)
	for n := first + 1; n < first+heads && !m.sameForHeads(); n++ {
		if keys := m.count(n, i); keys != count {
			return max(2, count, keys)
		}
	}
	if count > 0 && m.p.Sinks != nil {
		count++
	}
	return count
}

// HasEmptyRow reports whether some query of some head sees no key.
func (p *Problem) HasEmptyRow() bool {
	if l := p.Layer; p.Turn != nil || l != nil && (l.LearnedKey != nil || l.ZeroKey) {
		return false
	}
	scores := p.scores()
	m, step := p.masks(num.Last(scores)), 1
	if m.sameForHeads() {
		step = m.heads
	}
	for n := 0; n < num.Size(scores[:len(scores)-2]); n += step {
		for i := range m.queries {
			if !m.seesAny(n, i) {
				return true
			}
		}
	}
	return false
}
