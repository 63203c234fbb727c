package diagnose

import (
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
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

// IDs returns the ids of the mistakes.
func (m Match) IDs() []string { return catalogue.IDs(m.Mistakes) }

// ID joins the ids of the mistakes: "causal-missing+padding-ignored".
func (m Match) ID() string { return catalogue.JoinIDs(m.Mistakes) }

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

// passed notes how far a computation is from an output that it does not explain. Among numbers alone is one
// nearer than another.
func (s *search) passed(distance float64) {
	if distance < s.next {
		s.next = distance
	}
}

// holds compares an output, or a part of it, with that of mistakes, by the same measure as with a
// right one: within the noise of the mistaken computation, and near it.
func (s *search) holds(got []float64, wrong compare.Expected) (compare.Comparison, bool) {
	c := compare.Outputs(wrong.Shape, got, wrong)
	ok := c.OK() && c.Rel <= near
	if !ok && c.NonFinite == 0 {
		s.passed(c.Rel)
	}
	return c, ok
}

// try takes the mistakes for an explanation if their output is the subject's.
func (s *search) try(got []float64, wrong compare.Expected, mistakes ...catalogue.Mistake) {
	if c, ok := s.holds(got, wrong); ok {
		s.found = append(s.found, Match{Mistakes: mistakes, Residual: c.Rel, MaxZ: c.MaxZ})
	}
}

// distance is RMS(got - want) / RMS(want) of what is a number in both; infinite where one alone is, or
// they are infinite in other ways.
func distance(got, want []float64) float64 {
	var off, size float64
	for i, w := range want {
		g := got[i]
		switch d := g - w; {
		case g == w || math.IsNaN(g) && math.IsNaN(w):
			if !math.IsInf(w, 0) && !math.IsNaN(w) {
				size += w * w
			}
		case math.IsNaN(d) || math.IsInf(d, 0):
			return math.Inf(1)
		default:
			off += d * d
			size += w * w
		}
	}
	if off == 0 {
		return 0
	}
	return math.Sqrt(off / size)
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

// singles looks for one mistake that explains the output. Values alone say of most of them that they do
// not; what is left is made again with its noise.
func (e *evidence) singles() []Match {
	s := &search{next: math.Inf(1)}
	for _, r := range e.candidates {
		if off := distance(e.part.got, r.outputs[0]); !(off <= near) {
			s.passed(off)
		} else {
			e.confirm(s, r.mistake)
		}
	}
	if e.ctx.Err() != nil {
		e.cut = "mistakes that come near were not made with their noise, and no two mistakes at once"
		return nil
	}
	return s.matches()
}

// confirm holds a mistake against the output in more and more rows, with its noise: those of the part, some
// that are wrong, and all.
func (e *evidence) confirm(s *search, mistakes ...catalogue.Mistake) {
	wrong, ok := catalogue.Make(e.problem, nil, mistakes...)
	if !ok {
		return
	}
	width := num.Last(e.c.WantShape)
	if e.part.partial() {
		for _, rows := range [][]int{e.part.rows, e.someWrongRows(8)} {
			f, err := wrong.Rows(e.ctx, rows, oracle.WithNoise)
			if err != nil {
				return
			}
			if _, ok := s.holds(rowsOf(e.got, rows, width), f.Expected()); len(rows) > 0 && !ok {
				return
			}
		}
	}
	f, err := wrong.Rows(e.ctx, nil, oracle.WithNoise)
	if err != nil {
		return
	}
	out := f.Expected()
	if e.part.partial() && compare.Outputs(out.Shape, out.Value, e.truth).OK() {
		return // nobody sees it, and it explains nothing
	}
	s.try(e.got, out, mistakes...)
}

// someWrongRows are up to so many rows that are outside the noise, spread over all of them.
func (e *evidence) someWrongRows(most int) []int {
	rows := places(wrongRows(e.c))
	if len(rows) <= most {
		return rows
	}
	var some []int
	for _, i := range spreadOver(len(rows), most) {
		some = append(some, rows[i])
	}
	return some
}
