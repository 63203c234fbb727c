package oracle

import "math"

// softmaxOver weighs rows whose softmax does not run over the keys of a query alone: p = exp(s) / sum
// over a group of scores, in which each score's error changes all weights:
//
//	Var p = p² ((1 - p)² Var s + Σ p'² Var s' over the others + rounding of Σ p, of p and of its division)
func (p *Problem) softmaxOver(rows []*row) {
	groups := map[[3]int]*group{}
	for _, r := range rows {
		for n, j := range r.seen {
			at := p.group(r, j)
			if groups[at] == nil {
				groups[at] = &group{top: math.Inf(-1)}
			}
			groups[at].add(r, n)
		}
	}
	for _, r := range rows {
		if g := groups[p.group(r, 0)]; g != nil && p.Axis == OverHeadsAndKeys {
			g.sinks = append(g.sinks, p.sinkOf(r.head)) // elsewhere a sink shares its softmax with no key
		}
	}
	for _, g := range groups {
		g.weigh()
	}
	for _, r := range rows {
		if len(r.seen) == 0 {
			p.fillEmpty(r.out.Value)
			continue
		}
		r.context()
	}
}

// group numbers what a score is normalised with.
func (p *Problem) group(r *row, key int) [3]int {
	batch, head := r.head/p.heads(), r.head%p.heads()
	switch p.Axis {
	case OverQueries:
		return [3]int{r.head, key, 0}
	case OverHeads:
		return [3]int{batch, r.index, key}
	case OverHeadsAndKeys:
		return [3]int{batch, r.index, -1}
	}
	return [3]int{head, r.index, key}
}

// group is a set of scores that one softmax runs over.
type group struct {
	top     float64
	members []member
	sinks   []float64
}

type member struct {
	r *row
	n int // which of the row's keys
}

func (g *group) add(r *row, n int) {
	if r.weights == nil {
		r.weights = make([]float64, len(r.seen))
	}
	g.top = math.Max(g.top, r.scores[n])
	g.members = append(g.members, member{r, n})
}

// weigh sets the weights, and in the place of the scores' variance that of the weights, as [row.context]
// takes it where weights do not add to one.
func (g *group) weigh() {
	var total float64
	for _, s := range g.sinks {
		g.top = math.Max(g.top, s)
	}
	for _, s := range g.sinks {
		total += math.Exp(s - g.top)
	}
	for _, m := range g.members {
		total += math.Exp(m.r.scores[m.n] - g.top)
	}
	for _, m := range g.members {
		m.r.weights[m.n] = math.Exp(m.r.scores[m.n]-g.top) / total
	}
	var all, squares float64
	for _, m := range g.members {
		w, off := m.r.weights[m.n], m.r.scores[m.n]-g.top
		m.r.scoreVar[m.n] += roundoff*off*off + 4*u*u
		all += w * w * m.r.scoreVar[m.n]
		squares += w * w
	}
	for _, m := range g.members {
		m.r.scoreVar[m.n] = all + (1-2*m.r.weights[m.n])*m.r.scoreVar[m.n] + sumOfProducts(len(g.members), 1, squares) + 2*roundoff
	}
}
