package diagnose

import (
	"fmt"
	"math"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/difftest/difftest/harness/catalogue"
	"github.com/difftest/difftest/harness/oracle"
)

// pairs looks for two mistakes that explain the output together: first in a few rows of a batch element that
// is wrong, then in all of them with noise and, where they do so there, in all batch elements. Left out are
// random mistakes, which cannot be replayed, and those that may reach from one batch element to another.
func (e *evidence) pairs() []Match {
	if len(e.structure.WrongBatches) == 0 {
		return nil // too much noise everywhere, and nowhere a mistake
	}
	b := newBatch(e)
	searches := make([]search, len(e.candidates))
	var done atomic.Int64
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, made := range e.candidates {
		group.Go(func() error {
			searches[i] = b.pairsWith(made.mistake, e.candidates[i+1:])
			if e.ctx.Err() == nil {
				Progress{"mistakes made with each other", int(done.Add(1)), len(e.candidates)}.Tell(e.ctx)
			}
			return nil
		})
	}
	_ = group.Wait()
	if left := len(e.candidates) - int(done.Load()); left > 0 {
		e.cut = fmt.Sprintf("no known mistake alone gives this output; two at once were not all tried, %d of %d mistakes with none of those behind them", left, len(e.candidates))
		return nil
	}
	all := search{next: math.Inf(1)}
	for _, s := range searches {
		all.found, all.next = append(all.found, s.found...), math.Min(all.next, s.next)
	}
	return all.matches()
}

// batch is one batch element of an output, that is wrong.
type batch struct {
	*evidence
	number int
	right  *oracle.Problem // shared
	got    []float64
	rows   []int // a few, that are wrong
	few    []float64
	most   float64 // the greatest sum of squared differences, in the rows, of an explanation
}

// newBatch takes the first that is wrong.
func newBatch(e *evidence) *batch {
	const rows = 3
	number, size, width := e.structure.WrongBatches[0], len(e.got)/e.structure.Batches, last(e.c.WantShape)
	b := &batch{evidence: e, number: number, right: e.problem.Only(number).Shared(), got: e.got[number*size:][:size]}
	wrong := places(wrongRows(e.c)[number*size/width:][:size/width])
	for _, i := range spreadOver(len(wrong), rows) {
		b.rows = append(b.rows, wrong[i])
	}
	b.few = rowsOf(b.got, b.rows, width)
	for _, v := range b.got {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			b.most += v * v * near * near / (1 - near) / (1 - near)
		}
	}
	return b
}

// pairsWith tries a mistake with each of others.
func (b *batch) pairsWith(a catalogue.Mistake, others []replay) search {
	s := search{next: math.Inf(1)}
	alone := planted(b.problem, nil, a)
	if alone == nil || !alone.Local() {
		return s
	}
	shared := alone.Only(b.number).Beside(b.right).Shared()
	if _, err := shared.Rows(b.ctx, nil, oracle.ValuesAlone); err != nil { // from now on it keeps its context
		return s
	}
	for _, other := range others {
		if b.ctx.Err() != nil {
			return s
		}
		b.try(&s, alone, shared, a, other.mistake)
	}
	return s
}

// try makes a second mistake where one is made alone. shared is the batch element of that.
func (b *batch) try(s *search, alone, shared *oracle.Problem, a, other catalogue.Mistake) {
	wrong := planted(alone, nil, other)
	if wrong == nil || !wrong.Local() {
		return
	}
	part := wrong.Only(b.number).Beside(shared)
	few, err := part.Rows(b.ctx, b.rows, oracle.ValuesAlone)
	if err != nil {
		return
	}
	if b.tooFar(few.Value) {
		s.passed(distance(b.few, few.Value))
		return
	}
	all, err := part.Rows(b.ctx, nil, oracle.ValuesAlone)
	if off := distance(b.got, all.Value); err != nil || !(off <= near) {
		s.passed(off)
		return
	}
	if f, err := part.Rows(b.ctx, nil, oracle.WithNoise); err == nil {
		if _, ok := s.holds(b.got, expected(f)); ok {
			if f, err := planted(b.problem, nil, a, other).Rows(b.ctx, nil, oracle.WithNoise); err == nil {
				s.try(b.evidence.got, expected(f), a, other)
			}
		}
	}
}

// tooFar says whether a few rows are too far away for the batch element to be within [near], whatever the
// other rows are: |got - want| there would be more than near |want|, and |want| is at most |got| / (1 - near).
func (b *batch) tooFar(values []float64) bool {
	off := 0.0
	for i, w := range values {
		g := b.few[i]
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		off += (g - w) * (g - w)
	}
	return !(off <= b.most)
}

// affordable says whether all pairs can be made in about a second: whether their multiplications, in a few
// rows of one batch element, are not too many. What the rows do not share is the smaller part.
func (e *evidence) affordable() bool {
	const most = 4e9
	n := float64(len(e.candidates))
	return !e.part.partial() && multiplications(e.problem)/float64(e.structure.Batches)*n*n/2 <= most
}
