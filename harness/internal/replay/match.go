package replay

import (
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
)

// Match is a mistake, or two made at once, that gives the output, to rounding.
type Match struct {
	Mistakes []catalogue.Mistake
	Where    string  // path of the only module that makes them; "" if every module of its kind does
	Residual float64 // RMS(got - replay) / RMS(replay)
	MaxZ     float64 // of got - replay, in units of the replay's sigma
	Next     float64 // residual of the nearest mistakes that do not match; infinite without any
	Margin   float64 // Next / Residual
	Trace    float64 // in lower precision, cosine of the errors and their known part; else 0

	sites []int // the places of a mistake in a graph
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
	title := strings.Join(titles, ", and ")
	if m.Where != "" {
		title += " in " + m.Where + " alone"
	}
	return title
}

// Fixes returns a sentence for each mistake: how to correct it.
func (m Match) Fixes() []string {
	var fixes []string
	for _, mistake := range m.Mistakes {
		fixes = append(fixes, mistake.Fix)
	}
	return fixes
}

// search collects the matches of one output.
type search struct {
	found []Match
	near  []Match // single mistakes that come near and do not match, until joinSame
	next  float64 // residual of the nearest computation that does not match
}

func newSearch() *search { return &search{next: math.Inf(1)} }

// miss notes the distance of a computation that does not match. NaN is no distance.
func (s *search) miss(distance float64) {
	if distance < s.next {
		s.next = distance
	}
}

// hopeful reports whether a computation with a residual may be much nearer than every one that does
// not match. Without such a match there is none: see [search.matches].
func (s *search) hopeful(residual float64) bool {
	const rounding = 1.001
	return residual*compare.MinMargin <= rounding*s.next
}

// missSingles notes the distance of each mistake alone. Two things at once that do not come much
// nearer than one of them are no explanation.
func (s *search) missSingles(o Output) {
	for _, r := range o.Candidates {
		s.miss(o.distance(r))
	}
}

// explains compares an output, or some rows of it, with a mistaken computation, by the same
// limits as with the right one.
func (s *search) explains(got []float64, wrong compare.Expected) (compare.Comparison, bool) {
	c := compare.Outputs(wrong.Shape, got, wrong)
	if !c.Explained() && c.NonFinite == 0 {
		s.miss(c.Rel)
	}
	return c, c.Explained()
}

// add collects mistakes if their output explains the subject's.
func (s *search) add(got []float64, wrong compare.Expected, mistakes ...catalogue.Mistake) {
	if c, ok := s.explains(got, wrong); ok {
		s.found = append(s.found, Match{Mistakes: mistakes, Residual: c.Rel, MaxZ: c.MaxZ})
	}
}

// addAt collects a mistake in a graph if its output explains the subject's.
func (s *search) addAt(got []float64, wrong compare.Expected, h hypothesis) {
	if c, ok := s.explains(got, wrong); ok {
		s.found = append(s.found, Match{
			Mistakes: []catalogue.Mistake{h.mistake}, Where: h.where, Residual: c.Rel, MaxZ: c.MaxZ, sites: h.sites,
		})
	}
}

// matches returns the collected matches, or nil if another computation comes about as near.
func (s *search) matches() []Match {
	found := s.withMargins()
	if slices.ContainsFunc(found, func(m Match) bool { return m.Margin < compare.MinMargin }) {
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
