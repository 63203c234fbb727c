package diagnose

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// pairs looks for two mistakes that explain the output together: first in a few rows of a batch element that
// is wrong, then in all of them with noise and, where they do so there, in all batch elements. Mistakes that
// may reach from one batch element to another are made on all of them at once. Left out are random mistakes,
// which cannot be replayed.
func (e *evidence) pairs() []Match {
	if len(e.structure.WrongBatches) == 0 {
		return nil // too much noise everywhere, and nowhere a mistake
	}
	element, whole := newPiece(e, e.structure.WrongBatches[0]), newPiece(e, everything)
	candidates := byStage(e.candidates)
	searches := make([]search, len(candidates))
	var done atomic.Int64
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, made := range candidates {
		group.Go(func() error {
			searches[i] = e.pairsWith(made.mistake, candidates[i+1:], element, whole)
			if e.ctx.Err() == nil {
				Progress{"mistakes made with each other", int(done.Add(1)), len(candidates)}.Tell(e.ctx)
			}
			return nil
		})
	}
	_ = group.Wait()
	if left := len(candidates) - int(done.Load()); left > 0 {
		e.cut = fmt.Sprintf("no known mistake alone gives this output; two at once were not all tried, %d of %d mistakes with none of those behind them", left, len(candidates))
		return nil
	}
	all := search{next: math.Inf(1)}
	for _, s := range searches {
		all.found, all.next = append(all.found, s.found...), math.Min(all.next, s.next)
	}
	return all.matches()
}

// byStage puts mistakes of later stages behind those of earlier ones: made second, they share what the first
// has computed.
func byStage(candidates []replay) []replay {
	return slices.SortedStableFunc(slices.Values(candidates), func(a, b replay) int { return cmp.Compare(a.mistake.Stage, b.mistake.Stage) })
}

// piece is what pairs are tried on.
type piece struct {
	*evidence
	number int             // of a batch element that is wrong, or everything
	right  *oracle.Problem // shared
	got    []float64
	rows   []int // a few, that are wrong
	few    []float64
	most   float64 // the greatest sum of squared differences, in the rows, of an explanation
}

const everything = -1

func newPiece(e *evidence, number int) *piece {
	const rows = 3
	width, first := num.Last(e.c.WantShape), 0
	p := &piece{evidence: e, number: number, got: e.got}
	if number != everything {
		size := len(e.got) / e.structure.Batches
		first, p.got = number*size, e.got[number*size:][:size]
	}
	p.right = p.of(e.problem).Cached()
	wrong := places(wrongRows(e.c)[first/width:][:len(p.got)/width])
	for _, i := range spreadOver(len(wrong), rows) {
		p.rows = append(p.rows, wrong[i])
	}
	p.few = rowsOf(p.got, p.rows, width)
	for _, v := range p.got {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			p.most += v * v * near * near / (1 - near) / (1 - near)
		}
	}
	return p
}

// of is the piece of a problem.
func (p *piece) of(problem *oracle.Problem) *oracle.Problem {
	if p.number == everything {
		return problem.Fork()
	}
	return problem.Element(p.number)
}

// pairsWith tries a mistake with each of others, on the piece that is enough for the two.
func (e *evidence) pairsWith(a catalogue.Mistake, others []replay, element, whole *piece) search {
	s := search{next: math.Inf(1)}
	alone, ok := catalogue.Make(e.problem, nil, a)
	if !ok {
		return s
	}
	shared := map[*piece]*oracle.Problem{}
	for _, other := range others {
		wrong, ok := catalogue.Make(alone, nil, other.mistake)
		if !ok {
			continue
		}
		p := whole
		if wrong.Independent() {
			p = element
		}
		if shared[p] == nil {
			shared[p] = p.of(alone).WithCache(p.right).Cached()
			_, _ = shared[p].Rows(e.ctx, nil, oracle.ValuesAlone) // from now on it keeps its context; when ctx has ended, nothing is tried
		}
		if e.ctx.Err() != nil {
			return s
		}
		p.try(&s, p.of(wrong).WithCache(shared[p]), a, other.mistake)
	}
	return s
}

// try holds a piece of a problem with two mistakes against that of the output.
func (p *piece) try(s *search, wrong *oracle.Problem, a, other catalogue.Mistake) {
	few, err := wrong.Rows(p.ctx, p.rows, oracle.ValuesAlone)
	if err != nil {
		return
	}
	if p.tooFar(few.Value) {
		s.passed(distance(p.few, few.Value))
		return
	}
	all, err := wrong.Rows(p.ctx, nil, oracle.ValuesAlone)
	if off := distance(p.got, all.Value); err != nil || !(off <= near) {
		s.passed(off)
		return
	}
	if f, err := wrong.Rows(p.ctx, nil, oracle.WithNoise); err == nil {
		if _, ok := s.holds(p.got, f.Expected()); ok {
			p.confirmPair(s, a, other)
		}
	}
}

// confirmPair holds two mistakes, made on the whole problem with their noise, against the output.
func (p *piece) confirmPair(s *search, a, other catalogue.Mistake) {
	wrong, ok := catalogue.Make(p.problem, nil, a, other)
	if !ok {
		return
	}
	if f, err := wrong.Rows(p.ctx, nil, oracle.WithNoise); err == nil {
		s.try(p.evidence.got, f.Expected(), inOrder(a, other)...)
	}
}

// inOrder are two mistakes in the order of the catalogue.
func inOrder(a, b catalogue.Mistake) []catalogue.Mistake {
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

// tooFar says whether a few rows are too far away for the piece to be within [near], whatever the
// other rows are: |got - want| there would be more than near |want|, and |want| is at most |got| / (1 - near).
func (p *piece) tooFar(values []float64) bool {
	off := 0.0
	for i, w := range values {
		g := p.few[i]
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		off += (g - w) * (g - w)
	}
	return !(off <= p.most)
}

// affordable says whether all pairs can be made in about a second: whether their multiplications, in a few
// rows of one batch element, are not too many. What the rows do not share is the smaller part.
func (e *evidence) affordable() bool {
	const most = 4e9
	n := float64(len(e.candidates))
	return !e.part.partial() && multiplications(e.problem)/float64(e.structure.Batches)*n*n/2 <= most
}
