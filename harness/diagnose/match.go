package diagnose

import (
	"math"
	"strings"

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
	Margin   float64 // residual of the next mistakes that give another output, over Residual
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

// search collects the explanations of an output.
type search struct {
	found []Match
	next  float64 // residual of the nearest explanation that is none
}

// holds compares an output, or a part of it, with that of mistakes, by the same measure as with a
// right one: within the noise of the mistaken computation.
func (s *search) holds(got []float64, wrong compare.Expected) (compare.Comparison, bool) {
	c := compare.Outputs(wrong.Shape, got, wrong)
	if !c.OK() {
		s.next = math.Min(s.next, c.Rel)
	}
	return c, c.OK()
}

// try takes the mistakes for an explanation if their output is the subject's.
func (s *search) try(got []float64, wrong compare.Expected, mistakes ...catalogue.Mistake) {
	if c, ok := s.holds(got, wrong); ok {
		s.found = append(s.found, Match{Mistakes: mistakes, Residual: c.Rel, MaxZ: c.MaxZ})
	}
}

// matches gives what was found, unless something else comes as near.
func (s *search) matches() []Match {
	for i, m := range s.found {
		s.found[i].Margin = s.next / m.Residual
		if s.found[i].Margin < minMargin {
			return nil
		}
	}
	return s.found
}

// singles looks for one mistake that explains the output.
func (e *evidence) singles() []Match {
	s := &search{next: math.Inf(1)}
	for _, r := range e.replays {
		if !r.mistake.Random {
			s.try(e.got, r.outputs[0], r.mistake)
		}
	}
	return s.matches()
}

// pairs looks for two mistakes that explain it together, first in one batch element that is wrong
// and, where they do so there, in all. Mistakes of the weights are left out: random ones cannot be
// replayed, and beside them nothing else shows.
func (e *evidence) pairs() []Match {
	if len(e.structure.WrongBatches) == 0 {
		return nil // too much noise everywhere, and nowhere a mistake
	}
	b, size := e.structure.WrongBatches[0], len(e.got)/e.structure.Batches
	s := &search{next: math.Inf(1)}
	e.eachPair(func(wrong *oracle.Problem, mistakes ...catalogue.Mistake) {
		if _, ok := s.holds(e.got[b*size:][:size], expected(wrong.Only(b).Run())); ok {
			s.try(e.got, expected(wrong.Run()), mistakes...)
		}
	})
	return s.matches()
}

// eachPair makes every two mistakes that can be made together and do not concern the weights.
func (e *evidence) eachPair(f func(wrong *oracle.Problem, mistakes ...catalogue.Mistake)) {
	for i, a := range e.replays {
		for _, b := range e.replays[i+1:] {
			wrong := e.problem.Clone()
			if a.mistake.Kind != catalogue.Parameters && b.mistake.Kind != catalogue.Parameters &&
				a.mistake.Plant(wrong, nil) && b.mistake.Plant(wrong, nil) {
				f(wrong, a.mistake, b.mistake)
			}
		}
	}
}

// affordable says whether some two hundred pairs can be made in about a second: whether one batch
// element takes at most this many multiplications.
func affordable(p *oracle.Problem) bool {
	const multiplications = 1e6
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
	return work <= multiplications
}
