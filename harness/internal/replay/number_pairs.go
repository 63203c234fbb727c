package replay

import (
	"context"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/parallel"
)

// FindNumbersWithMistakes looks for a wrong number and a mistake that give the output together. It
// makes each mistake in a few wrong rows of a batch element, and searches each number there. The
// search is bounded: mistakes are of the families below, and values are usual ones or near the
// right one. FindNumbersWithMistakes returns nil if many of them give the same output.
func FindNumbersWithMistakes(ctx context.Context, o Output) ([]NumberMatch, Cut) {
	const most = 4   // numbers that are found
	const fewest = 3 // wrong elements; fewer do not prove a number and a mistake
	wrong := num.Where(o.Comparison.WrongRows())
	if len(wrong) == 0 || o.Comparison.Outside < fewest || o.Comparison.NonFinite > 0 || !o.PairsAffordable() {
		return nil, ""
	}
	p := newPiece(o, wrong[0]*o.batches()/o.rows())
	mistakes := slices.DeleteFunc(slices.Clone(o.Candidates), func(r Replay) bool {
		return !slices.Contains(besideNumbers, r.Mistake.Family)
	})
	found, next := make([][]NumberMatch, len(mistakes)), make([]float64, len(mistakes))
	parallel.Each(len(mistakes), func(i int) {
		s := newSearch()
		found[i] = p.numbersWith(ctx, s, mistakes[i].Mistake)
		next[i] = s.next
	})
	all, s := slices.Concat(found...), newSearch()
	for _, n := range next {
		s.miss(n)
	}
	if len(all) > most {
		all = nil
	}
	if len(all) > 0 { // else nothing asks for the distances
		s.missSimpler(ctx, o, all)
	}
	if ctx.Err() != nil {
		return nil, "a wrong number beside a mistake was not searched everywhere"
	}
	return withMargin(all, s.next), ""
}

// missSimpler notes the distances of the simpler explanations of an output: single mistakes, and
// the numbers of the matches without a mistake. A number beside a mistake must come much nearer
// than each of them. The number's right value is then far outside the interval of the match.
func (s *search) missSimpler(ctx context.Context, o Output, found []NumberMatch) {
	s.missSingles(o)
	part, tried := newNumberPart(o), map[string]bool{}
	for _, m := range found {
		if tried[m.Number.ID] {
			continue
		}
		tried[m.Number.ID] = true
		if alone, ok := newNumberSearch(ctx, part, m.Number, m.Right).find(s); ok {
			s.miss(alone.Residual)
		}
	}
}

// besideNumbers are the families of mistakes that are tried with a wrong number.
var besideNumbers = []catalogue.Family{
	catalogue.Masks, catalogue.Scales, catalogue.Softmax, catalogue.Scores, catalogue.KVCache, catalogue.ALiBi,
	catalogue.RelativeBias,
}

// besideRotation are the families among them for numbers that change queries and keys, which takes
// long.
var besideRotation = []catalogue.Family{catalogue.Masks, catalogue.Scales}

// numbersWith searches the numbers that a mistake leaves as they are.
func (p *piece) numbersWith(ctx context.Context, s *search, m catalogue.Mistake) []NumberMatch {
	right := p.output.Case.Problem
	wrong, ok := catalogue.Make(right, nil, m)
	if !ok || !wrong.Independent() {
		return nil
	}
	part := &numberPart{
		output: p.output, problem: p.of(wrong).WithCache(p.right).Cached(), rows: p.few, got: p.gotFew,
		sigma: rowsOf(p.sigma(), p.few, p.output.width()),
	}
	var found []NumberMatch
	for _, n := range catalogue.Numbers {
		value, ok := n.Get(right)
		if still, has := n.Get(wrong); !n.Configured || !ok || !has || still != value {
			continue
		}
		if n.Stage == catalogue.Projection && !slices.Contains(besideRotation, m.Family) {
			continue
		}
		q := newNumberSearch(ctx, part, n, value)
		q.whole, q.with = wrong, []catalogue.Mistake{m}
		if match, ok := q.findNear(s); ok {
			found = append(found, match)
		}
	}
	return found
}

// sigma returns the noise of the right result in the piece.
func (p *piece) sigma() []float64 {
	all := p.output.Case.Truth.Sigma
	if p.element == allElements {
		return all
	}
	size := len(all) / p.output.batches()
	return all[p.element*size:][:size]
}

// findNear is find with a coarse search, near the right value. The part holds few rows: more than
// one whole number may come near there, and other numbers are polished on the whole case.
func (q *numberSearch) findNear(s *search) (NumberMatch, bool) {
	missed := newSearch()
	for _, value := range q.nearRight() {
		off := q.residual(value)
		if !(off <= compare.MaxResidual) {
			missed.miss(off)
			break
		}
		if m, ok := q.confirm(missed, value); ok {
			return m, true
		}
	}
	s.miss(missed.next)
	return NumberMatch{}, false
}

// nearRight returns the values that come nearest to the output, among few. It does not look closely
// where no value comes much nearer than its neighbours.
func (q *numberSearch) nearRight() []float64 {
	const steps, times = 8, 16
	const falls = 0.8 // of the distance at the neighbours, at the best value of the grid
	grid := q.number.Usual
	if step := float64(q.number.Step); step > 0 {
		q.least, q.most = max(q.least, q.right-steps*step), min(q.most, q.right+steps*step)
	} else {
		q.least, q.most = max(q.least, q.right/times), min(q.most, q.right*times)
	}
	if !q.number.Periodic {
		grid = q.grid()
	}
	var tried []near
	for _, v := range grid {
		tried = append(tried, near{v, q.at(v)})
	}
	if q.number.Step > 0 || q.number.Periodic {
		return nearest(tried)
	}
	i := lowest(tried)
	before, after := neighbours(tried, i)
	if tried[i].off > falls*max(before.off, after.off) {
		return nil
	}
	return []float64{q.deepest(tried, i).value}
}
