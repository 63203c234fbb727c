package oracle

import (
	"math"
	"sync"
)

// classes are the lines, of so many heads and queries, whose softmaxes run over the same scores, each with
// a wanted one among them: a line by itself where they run over keys.
func (p *Problem) classes(heads, queries int, lines wanted) [][]int {
	if p.Axis == OverKeys {
		classes, all := make([][]int, 0, lines.count(heads*queries)), make([]int, heads*queries)
		for line := range all {
			if all[line] = line; lines.has(line) {
				classes = append(classes, all[line:line+1])
			}
		}
		return classes
	}
	numbers, classes := map[[2]int]int{}, [][]int{}
	for _, onlyWanted := range []bool{true, false} { // in the order of what is wanted, then with all that belongs to it
		for line := range heads * queries {
			at := p.class(line/queries, line%queries)
			number, known := numbers[at]
			switch {
			case onlyWanted && !known && lines.has(line):
				numbers[at] = len(classes)
				classes = append(classes, nil)
			case !onlyWanted && known:
				classes[number] = append(classes[number], line)
			}
		}
	}
	return classes
}

// class numbers the lines whose scores are normalised together.
func (p *Problem) class(head, query int) [2]int {
	batch, own := head/p.heads(), head%p.heads()
	switch p.Axis {
	case OverQueries:
		return [2]int{head, 0}
	case OverBatch:
		return [2]int{own, query}
	}
	return [2]int{batch, query} // over its heads
}

// closed are the lines whose scores the wanted ones need.
func (p *Problem) closed(lines wanted) wanted {
	if lines == nil || p.Axis == OverKeys {
		return lines
	}
	queries := p.Query.Shape[len(p.Query.Shape)-2]
	all := make(wanted, len(lines))
	for _, class := range p.classes(len(lines)/queries, queries, lines) {
		for _, line := range class {
			all[line] = true
		}
	}
	return all
}

// softmaxOver weighs rows whose softmax does not run over the keys of a query alone: p = exp(s) / sum
// over a group of scores, in which each score's error changes all weights:
//
//	Var p = p² ((1 - p)² Var s + Σ p'² Var s' over the others + rounding of Σ p, of p and of its division)
//
// A group is all scores of one key, in all rows, or all scores of all keys.
func (a *attending) softmaxOver(rows []*row) {
	groups := make([]group, a.k.Shape[len(a.k.Shape)-2])
	if a.Axis == OverHeadsAndKeys {
		groups = groups[:1]
	}
	for i := range groups {
		groups[i].top = math.Inf(-1)
	}
	each := func(f func(g *group, r *row, n int)) {
		for _, r := range rows {
			for n, j := range r.seen {
				f(&groups[j%len(groups)], r, n)
			}
		}
	}
	each(func(g *group, r *row, n int) { g.top = math.Max(g.top, r.scores[n]) })
	if a.Axis == OverHeadsAndKeys { // elsewhere a sink shares its softmax with no key
		groups[0].addSinks(rows)
	}
	for _, r := range rows {
		r.own = zeros(r.own, len(r.seen))
		r.weights = r.own
	}
	each(func(g *group, r *row, n int) {
		r.weights[n] = math.Exp(r.scores[n] - g.top)
		g.total += r.weights[n]
	})
	each(func(g *group, r *row, n int) { g.weigh(r, n) })
	each(func(g *group, r *row, n int) {
		r.scoreVar[n] = g.all + (1-2*r.weights[n])*r.scoreVar[n] + sumOfProducts(g.count, 1, g.squares) + 2*roundoff
	})
	for _, r := range rows {
		switch {
		case !a.lines.has(r.line):
		case len(r.seen) == 0:
			r.fillEmpty(r.context.line(r.line).Value)
		default:
			r.contextOf()
		}
	}
}

// group is a set of scores that one softmax runs over.
type group struct {
	top, total   float64
	all, squares float64 // Σ p² Var s, Σ p²
	count        int
}

func (g *group) addSinks(rows []*row) {
	for _, r := range rows {
		g.top = math.Max(g.top, r.sinkOf(r.head))
	}
	for _, r := range rows {
		if s := r.sinkOf(r.head); !math.IsInf(s, -1) {
			g.total += math.Exp(s - g.top)
		}
	}
}

// weigh gives a weight, and in the place of the score's variance that of the weight, as [row.noiseOfContext]
// takes it where weights do not add to one, but for what all of the group share.
func (g *group) weigh(r *row, n int) {
	w, off := r.weights[n]/g.total, r.scores[n]-g.top
	r.weights[n] = w
	r.scoreVar[n] += roundoff*off*off + 4*u*u
	g.all += w * w * r.scoreVar[n]
	g.squares += w * w
	g.count++
}

// pool keeps rows, with their memory, for those who need some next.
type pool struct {
	sync.Mutex
	a    *attending
	free []*row
}

func newPool(a *attending) *pool { return &pool{a: a} }

func (p *pool) take(n int) []*row {
	p.Lock()
	defer p.Unlock()
	for len(p.free) < n {
		p.free = append(p.free, &row{attending: p.a})
	}
	taken := append([]*row{}, p.free[len(p.free)-n:]...)
	p.free = p.free[:len(p.free)-n]
	return taken
}

func (p *pool) put(rows []*row) {
	p.Lock()
	defer p.Unlock()
	p.free = append(p.free, rows...)
}
