package diagnose

import (
	"math"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/difftest/difftest/harness/catalogue"
	"github.com/difftest/difftest/harness/compare"
	"github.com/difftest/difftest/harness/oracle"
)

// minMargin is how much further the next explanation must be than one that is given.
const minMargin = 5

// Match is a mistake, or two made at once, whose output is the subject's, to rounding.
type Match struct {
	Mistakes []catalogue.Mistake
	Residual float64 // RMS(got - replay) / RMS(replay)
	MaxZ     float64 // the same in sigma of the replay, largest
	Next     float64 // residual of the next mistakes, which give another output; infinite where there are none
	Margin   float64 // Next over Residual
	Trace    float64 // of fewer bits: cosine between the errors and those that are known of them; else 0
}

// ID joins the ids of the mistakes: "causal-missing+padding-ignored".
func (m Match) ID() string {
	var ids []string
	for _, mistake := range m.Mistakes {
		ids = append(ids, mistake.ID)
	}
	return strings.Join(ids, "+")
}

// Title joins the titles of the mistakes; it follows "computed with".
func (m Match) Title() string {
	var titles []string
	for _, mistake := range m.Mistakes {
		titles = append(titles, mistake.Title)
	}
	return strings.Join(titles, ", and ")
}

// Fixes are what to do about the mistakes, a sentence each.
func (m Match) Fixes() []string {
	var fixes []string
	for _, mistake := range m.Mistakes {
		fixes = append(fixes, mistake.Fix)
	}
	return fixes
}

// search collects the explanations of an output.
type search struct {
	found []Match
	next  float64 // residual of the nearest explanation that is none
}

// near is the greatest residual of an explanation: what bfloat16 leaves where the softmax is saturated.
// A computation whose noise is larger than that, as one with scores of -1e9 as weights, explains
// everything and nothing.
const near = 0.05

// holds compares an output, or a part of it, with that of mistakes, by the same measure as with a
// right one: within the noise of the mistaken computation, and near it.
func (s *search) holds(got []float64, wrong compare.Expected) (compare.Comparison, bool) {
	c := compare.Outputs(wrong.Shape, got, wrong)
	ok := c.OK() && c.Rel <= near
	if !ok && c.NonFinite == 0 && c.Rel < s.next { // among numbers alone is one nearer than another
		s.next = c.Rel
	}
	return c, ok
}

// try takes the mistakes for an explanation if their output is the subject's.
func (s *search) try(got []float64, wrong compare.Expected, mistakes ...catalogue.Mistake) {
	if c, ok := s.holds(got, wrong); ok {
		s.found = append(s.found, Match{Mistakes: mistakes, Residual: c.Rel, MaxZ: c.MaxZ})
	}
}

// matches gives what was found, unless something else comes as near.
func (s *search) matches() []Match {
	found := s.withMargins()
	if slices.ContainsFunc(found, func(m Match) bool { return m.Margin < minMargin }) {
		return nil
	}
	return found
}

func (s *search) withMargins() []Match {
	for i, m := range s.found {
		s.found[i].Next, s.found[i].Margin = s.next, s.next/m.Residual
	}
	return s.found
}

// singles looks for one mistake that explains the output.
func (e *evidence) singles() []Match {
	s := &search{next: math.Inf(1)}
	for _, r := range e.replays {
		if r.mistake.Replayable() {
			s.try(e.got, r.outputs[0], r.mistake)
		}
	}
	return s.matches()
}

// pairs looks for two mistakes that explain it together, first in one batch element that is wrong
// and, where they do so there, in all. Left out are random mistakes, which cannot be replayed, and
// those that may reach from one batch element to another.
func (e *evidence) pairs() []Match {
	if len(e.structure.WrongBatches) == 0 {
		return nil // too much noise everywhere, and nowhere a mistake
	}
	var candidates []catalogue.Mistake
	for _, r := range e.replays {
		if r.mistake.Replayable() {
			candidates = append(candidates, r.mistake)
		}
	}
	searches := make([]search, len(candidates))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range candidates {
		group.Go(func() error {
			searches[i] = e.pairsWith(candidates[i], candidates[i+1:])
			return nil
		})
	}
	_ = group.Wait()
	all := search{next: math.Inf(1)}
	for _, s := range searches {
		all.found, all.next = append(all.found, s.found...), math.Min(all.next, s.next)
	}
	return all.matches()
}

// pairsWith tries a mistake with each of others. What comes before the scores is computed once where
// the other one changes only what comes later.
func (e *evidence) pairsWith(a catalogue.Mistake, others []catalogue.Mistake) search {
	b, size := e.structure.WrongBatches[0], len(e.got)/e.structure.Batches
	s := search{next: math.Inf(1)}
	alone := e.problem.Clone()
	if !a.Plant(alone, nil) || !alone.Local() {
		return s
	}
	shared := alone.Only(b).Shared()
	for _, other := range others {
		wrong := planting(alone, other)
		if !other.Plant(wrong, nil) || !wrong.Local() {
			continue
		}
		part := wrong.Only(b)
		if other.Stage == catalogue.Score {
			part.Beside(shared)
		}
		if _, ok := s.holds(e.got[b*size:][:size], expected(part.Run())); ok {
			s.try(e.got, expected(wrong.Run()), a, other)
		}
	}
	return s
}

// affordable says whether all pairs of n mistakes can be made in about a second: whether their
// multiplications in one batch element are not too many.
func affordable(p *oracle.Problem, n int) bool {
	const multiplications = 1e9
	query, key := p.Query.Shape, p.Key.Shape
	width, queries, keys := float64(last(query)), float64(query[len(query)-2]), float64(key[len(key)-2])
	if p.Past != nil {
		keys += float64(p.Past.Key.Shape[2])
	}
	heads := float64(len(p.Query.Value)/query[0]) / (width * queries)
	work := heads * 2 * queries * keys * width
	if p.Layer != nil {
		work += 2 * (queries + keys) * width * width
	}
	return work*float64(n*n)/2 <= multiplications
}
