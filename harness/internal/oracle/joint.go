package oracle

import (
	"math"
	"slices"
)

// groups returns the wanted context rows in groups that are computed together: rows of one head, or
// rows whose softmaxes share scores. A row is a query of a head; queries of a head are neighbours.
func (p *Problem) groups(heads, queries int, wanted rowSet) [][]int {
	if p.Axis != OverKeys {
		return p.jointRows(heads, queries, wanted)
	}
	var groups [][]int
	for head := range heads {
		var own []int
		for row := head * queries; row < (head+1)*queries; row++ {
			if wanted.has(row) {
				own = append(own, row)
			}
		}
		groups = slices.AppendSeq(groups, slices.Chunk(own, blockRows))
	}
	return groups
}

// jointRows groups the context rows whose softmaxes share scores, and returns the groups that have
// a wanted row. The softmax must not be over keys, where each row has scores of its own.
func (p *Problem) jointRows(heads, queries int, wanted rowSet) [][]int {
	numbers, groups := map[[2]int]int{}, [][]int{}
	for row := range heads * queries { // the groups are in the order of their first wanted rows
		key := p.jointKey(row/queries, row%queries)
		if _, known := numbers[key]; !known && wanted.has(row) {
			numbers[key] = len(groups)
			groups = append(groups, nil)
		}
	}
	for row := range heads * queries {
		if number, known := numbers[p.jointKey(row/queries, row%queries)]; known {
			groups[number] = append(groups[number], row)
		}
	}
	return groups
}

// jointKey returns the same key for all rows whose scores are normalised together.
func (p *Problem) jointKey(head, query int) [2]int {
	batch, own := head/p.heads(), head%p.heads()
	switch p.Axis {
	case OverQueries:
		return [2]int{head, 0}
	case OverBatch:
		return [2]int{own, query}
	}
	return [2]int{batch, query} // over the heads
}

// withJointRows adds to a set of context rows all rows whose scores they need.
func (p *Problem) withJointRows(rows rowSet) rowSet {
	if rows == nil || p.Axis == OverKeys {
		return rows
	}
	queries := p.Query.Shape[len(p.Query.Shape)-2]
	all := make(rowSet, len(rows))
	for _, group := range p.jointRows(len(rows)/queries, queries, rows) {
		for _, row := range group {
			all[row] = true
		}
	}
	return all
}

// jointSoftmax computes the contexts of joint rows. Their softmaxes run over all scores of one key,
// or over all scores of all keys. In p = exp(s) / Σ an error of each score changes all weights:
//
//	Var p = p² ((1 - p)² Var s + Σ p'² Var s' over the others
//	            + rounding of Σ p, of p and of its division)
func (w *workspace) jointSoftmax(rows []*row) {
	groups := make([]jointScores, w.k.Shape[len(w.k.Shape)-2])
	if w.Axis == OverHeadsAndKeys {
		groups = groups[:1]
	}
	for i := range groups {
		groups[i].top = math.Inf(-1)
	}
	each := func(f func(g *jointScores, r *row, n int)) {
		for _, r := range rows {
			for n, j := range r.keys {
				f(&groups[j%len(groups)], r, n)
			}
		}
	}
	each(func(g *jointScores, r *row, n int) { g.top = math.Max(g.top, r.scores[n]) })
	if w.Axis == OverHeadsAndKeys { // otherwise a sink shares its softmax with no key
		groups[0].addSinks(rows)
	}
	for _, r := range rows {
		r.weightMemory = zeros(r.weightMemory, len(r.keys))
		r.weights = r.weightMemory
	}
	each(func(g *jointScores, r *row, n int) {
		r.weights[n] = math.Exp(r.scores[n] - g.top)
		g.total += r.weights[n]
	})
	each(func(g *jointScores, r *row, n int) { g.addWeight(r, n) })
	each(func(g *jointScores, r *row, n int) {
		r.scoreVar[n] = g.variance + (1-2*r.weights[n])*r.scoreVar[n] +
			sumOfProducts(g.count, 1, g.squares) + 2*(roundoff+r.Precision.softmax)
	})
	wanted := slices.DeleteFunc(slices.Clone(rows), func(r *row) bool { return !w.wanted.has(r.number) })
	for _, r := range wanted {
		if len(r.keys) == 0 {
			r.fillEmpty(r.context.of(r.number).Value)
		}
	}
	w.mix(wanted)
}

// jointScores are the scores that one softmax over several rows runs over.
type jointScores struct {
	top, total float64 // the largest score, and Σ exp(s - top)
	variance   float64 // Σ p² Var s
	squares    float64 // Σ p²
	count      int
}

func (g *jointScores) addSinks(rows []*row) {
	for _, r := range rows {
		g.top = math.Max(g.top, r.sinkScore(r.head))
	}
	for _, r := range rows {
		if s := r.sinkScore(r.head); !math.IsInf(s, -1) {
			g.total += math.Exp(s - g.top)
		}
	}
}

// addWeight replaces exponential n of a row by its weight, adds the error of the exponential to the
// score's variance, and adds both to the sums of the group.
func (g *jointScores) addWeight(r *row, n int) {
	w, off := r.weights[n]/g.total, r.scores[n]-g.top
	r.weights[n] = w
	lower, s := r.Precision.softmax, r.scores[n]
	r.scoreVar[n] += (roundoff+lower)*off*off + 4*u*u + lower*(s*s+1)
	g.variance += w * w * r.scoreVar[n]
	g.squares += w * w
	g.count++
}
