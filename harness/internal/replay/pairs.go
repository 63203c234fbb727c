package replay

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/parallel"
	"github.com/difftest/difftest/harness/internal/progress"
)

// FindPairs looks for two mistakes that give the output together. Each pair is made in a few rows
// of a wrong batch element first, then in all rows of the element with noise, then in all
// elements. Pairs that may carry values between batch elements are made on all elements at once.
// Random mistakes cannot be replayed and are left out, and so are variants. On a case too large for
// [Output.PairsAffordable] the search takes very long.
func FindPairs(ctx context.Context, o Output) ([]Match, Cut) {
	wrong := num.Where(o.Comparison.WrongRows())
	if len(wrong) == 0 {
		return nil, "" // the noise is too large everywhere, and no row shows a mistake
	}
	element := newPiece(o, wrong[0]*o.batches()/o.rows())
	whole := newPiece(o, allElements)
	candidates := byStage(o.pairable())
	searches := make([]search, len(candidates))
	var done atomic.Int64
	parallel.Each(len(candidates), func(i int) {
		searches[i] = pairsWith(ctx, candidates[i].Mistake, candidates[i+1:], element, whole)
		if ctx.Err() == nil {
			progress.Tell(ctx, progress.Update{
				Stage: "mistakes made with each other", Done: int(done.Add(1)), Total: len(candidates),
			})
		}
	})
	if left := len(candidates) - int(done.Load()); left > 0 {
		const text = "no known mistake alone gives this output; two at once were not all tried, " +
			"%d of %d mistakes with none of those behind them"
		return nil, Cut(fmt.Sprintf(text, left, len(candidates)))
	}
	all := newSearch()
	all.missSingles(o)
	for _, s := range searches {
		all.found, all.next = append(all.found, s.found...), math.Min(all.next, s.next)
	}
	return all.matches(), ""
}

// batches returns the number of batch elements.
func (o Output) batches() int { return o.Comparison.WantShape[0] }

// rows returns the number of rows, over all batch elements and heads.
func (o Output) rows() int { return len(o.Got) / o.width() }

// pairable returns the candidates that may be made with each other. Variants would make many pairs.
func (o Output) pairable() []Replay {
	return slices.DeleteFunc(slices.Clone(o.Candidates), func(r Replay) bool { return r.Mistake.VariantOf != "" })
}

// PairsAffordable reports whether [FindPairs] takes about a second at most: whether the
// candidates' pairs need few multiplications in one batch element. Work that pairs share is not
// counted.
func (o Output) PairsAffordable() bool {
	const most = 4e9
	n := float64(len(o.pairable()))
	return !o.Sampled.Partial() && multiplications(o.Case.Problem)/float64(o.batches())*n*n/2 <= most
}

// byStage sorts mistakes by stage. A later mistake, made second, shares what the first one
// computed.
func byStage(candidates []Replay) []Replay {
	return slices.SortedStableFunc(slices.Values(candidates), func(a, b Replay) int {
		return cmp.Compare(a.Mistake.Stage, b.Mistake.Stage)
	})
}

// piece is the part of a case that pairs are tried on: one batch element, or all of them.
type piece struct {
	output  Output
	element int             // index of the batch element, or allElements
	right   *oracle.Problem // cached
	got     []float64
	few     []int // up to three wrong rows of the piece
	gotFew  []float64
	most    float64 // greatest sum of squared differences, in the few rows, of an explanation
}

const allElements = -1

func newPiece(o Output, element int) *piece {
	const rows = 3
	width, first := o.width(), 0
	p := &piece{output: o, element: element, got: o.Got}
	if element != allElements {
		size := len(o.Got) / o.batches()
		first, p.got = element*size, o.Got[element*size:][:size]
	}
	p.right = p.of(o.Case.Problem).Cached()
	wrong := num.Where(o.Comparison.WrongRows()[first/width:][:len(p.got)/width])
	for _, i := range spreadOver(len(wrong), rows) {
		p.few = append(p.few, wrong[i])
	}
	p.gotFew = rowsOf(p.got, p.few, width)
	for _, v := range p.got {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			const near = compare.MaxResidual
			p.most += v * v * near * near / (1 - near) / (1 - near)
		}
	}
	return p
}

// of returns the piece of a problem.
func (p *piece) of(problem *oracle.Problem) *oracle.Problem {
	if p.element == allElements {
		return problem.Fork()
	}
	return problem.Element(p.element)
}

// pairsWith tries a mistake together with each of others. A pair that keeps batch elements apart
// is tried on one element.
func pairsWith(ctx context.Context, a catalogue.Mistake, others []Replay, element, whole *piece) search {
	s := newSearch()
	alone, ok := catalogue.Make(whole.output.Case.Problem, nil, a)
	if !ok {
		return *s
	}
	shared := map[*piece]*oracle.Problem{}
	for _, other := range others {
		wrong, ok := catalogue.Make(alone, nil, other.Mistake)
		if !ok {
			continue
		}
		p := whole
		if wrong.Independent() {
			p = element
		}
		if shared[p] == nil {
			shared[p] = p.of(alone).WithCache(p.right).Cached()
			// This run puts the context of mistake a into the cache. It does nothing if ctx has
			// ended, and then no pair is tried.
			_, _ = shared[p].Rows(ctx, nil, oracle.ValuesAlone)
		}
		if ctx.Err() != nil {
			return *s
		}
		p.tryPair(ctx, s, p.of(wrong).WithCache(shared[p]), a, other.Mistake)
	}
	return *s
}

// tryPair compares the piece of a problem with two mistakes with the piece of the output.
func (p *piece) tryPair(ctx context.Context, s *search, wrong *oracle.Problem, a, b catalogue.Mistake) {
	few, err := wrong.Rows(ctx, p.few, oracle.ValuesAlone)
	if err != nil {
		return
	}
	if p.tooFar(few.Value) {
		s.miss(compare.Residual(p.gotFew, few.Value))
		return
	}
	all, err := wrong.Rows(ctx, nil, oracle.ValuesAlone)
	if off := compare.Residual(p.got, all.Value); err != nil || !(off <= compare.MaxResidual) {
		s.miss(off)
		return
	}
	if f, err := wrong.Rows(ctx, nil, oracle.WithNoise); err == nil {
		if _, ok := s.explains(p.got, f.Expected()); ok {
			p.confirmPair(ctx, s, a, b)
		}
	}
}

// confirmPair compares two mistakes, made on the whole problem with noise, with the whole output.
func (p *piece) confirmPair(ctx context.Context, s *search, a, b catalogue.Mistake) {
	wrong, ok := catalogue.Make(p.output.Case.Problem, nil, a, b)
	if !ok {
		return
	}
	if f, err := wrong.Rows(ctx, nil, oracle.WithNoise); err == nil {
		s.add(p.output.Got, f.Expected(), catalogueOrder(a, b)...)
	}
}

// catalogueOrder returns two mistakes in the order of the catalogue.
func catalogueOrder(a, b catalogue.Mistake) []catalogue.Mistake {
	for _, m := range catalogue.Mistakes {
		if m.ID == b.ID {
			return []catalogue.Mistake{b, a}
		}
		if m.ID == a.ID {
			break
		}
	}
	return []catalogue.Mistake{a, b}
}

// tooFar reports whether the few rows alone rule out that the piece is within
// [compare.MaxResidual]. The sum of |got - want|² there would exceed MaxResidual² |want|², and
// |want| is at most |got| / (1 - MaxResidual).
func (p *piece) tooFar(values []float64) bool {
	off := 0.0
	for i, w := range values {
		g := p.gotFew[i]
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		off += (g - w) * (g - w)
	}
	return !(off <= p.most)
}
