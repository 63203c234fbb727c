package replay

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
)

// NumberMatch is a number of the configuration with another value that gives the output, to
// rounding.
type NumberMatch struct {
	Number   catalogue.Number
	Value    float64 // in the output
	Right    float64 // in the case
	Residual float64 // RMS(got - replay) / RMS(replay)
	MaxZ     float64 // of got - replay, in units of the replay's sigma
	Next     float64 // residual of the nearest other explanation; infinite without any
	Alike    string  // other changes that give the same output, a sentence; "" if there are none

	// Where is the path of the only modules of a graph that have the wrong value, with * for the
	// number of any layer; "" if all have it.
	Where string

	// Least and Most bound the values that explain the output as well.
	Least, Most float64

	// With is a mistake that is made besides; nil if there is none.
	With []catalogue.Mistake
	// Beside is another number that is wrong as well; nil if there is none.
	Beside *NumberMatch
}

// String says which value the number has in the output, and which in the case.
func (m NumberMatch) String() string {
	text := fmt.Sprintf("the %s is %.6g, the case says %.6g", m.Number.Title, m.Value, m.Right)
	if m.Where != "" {
		text += ", in " + m.Where + " alone"
	}
	for _, mistake := range m.With {
		text += "; besides, the output is computed with " + mistake.Title
	}
	if m.Beside != nil {
		text += ", and " + m.Beside.String()
	}
	return text
}

// Title follows "computed with": "the RoPE base 1e+06 instead of 10000".
func (m NumberMatch) Title() string {
	text := fmt.Sprintf("the %s %.6g instead of %.6g", m.Number.Title, m.Value, m.Right)
	if m.Where != "" {
		text += " in " + m.Where + " alone"
	}
	for _, mistake := range m.With {
		text += ", and " + mistake.Title
	}
	if m.Beside != nil {
		text += ", and " + m.Beside.Title()
	}
	return text
}

// Fixes returns a sentence for the number, and one for a mistake or another number besides.
func (m NumberMatch) Fixes() []string {
	fixes := []string{m.Number.Fix}
	for _, mistake := range m.With {
		fixes = append(fixes, mistake.Fix)
	}
	if m.Beside != nil {
		fixes = append(fixes, m.Beside.Fixes()...)
	}
	return fixes
}

// IDs returns the ids of the number, and of a mistake or another number besides.
func (m NumberMatch) IDs() []string {
	ids := append([]string{m.Number.ID}, catalogue.IDs(m.With)...)
	if m.Beside != nil {
		ids = append(ids, m.Beside.IDs()...)
	}
	return ids
}

// Values returns the value of the number in the output, and of another one besides, by their ids.
func (m NumberMatch) Values() map[string]float64 {
	values := map[string]float64{m.Number.ID: m.Value}
	if m.Beside != nil {
		values[m.Beside.Number.ID] = m.Beside.Value
	}
	return values
}

// Allows reports whether a value explains the output as well, within a part in a million.
func (m NumberMatch) Allows(value float64) bool {
	const slack = 1e-6
	return m.Least-slack*math.Abs(m.Least) <= value && value <= m.Most+slack*math.Abs(m.Most)
}

// Label names the number and its value, and what is wrong besides: "window 6+scale-missing".
func (m NumberMatch) Label() string {
	label := strings.Join(append([]string{fmt.Sprintf("%s %.6g", m.Number.ID, m.Value)}, catalogue.IDs(m.With)...), "+")
	if m.Beside != nil {
		label += "+" + m.Beside.Label()
	}
	return label
}

// FindNumbers looks for numbers of the configuration that give the output with another value. It
// returns several if the case cannot tell them apart. On a large case it leaves out numbers that
// change queries and keys, because all of them would be computed again for each value.
func FindNumbers(ctx context.Context, o Output) ([]NumberMatch, Cut) {
	part, s := newNumberPart(o), newSearch()
	var found []NumberMatch
	for _, n := range catalogue.Numbers {
		right, ok := n.Get(o.Case.Problem)
		// Only what hides keys makes a row without keys, and so other numbers that are not finite.
		if !ok || o.Comparison.NonFinite > 0 && n.Step == 0 ||
			o.Sampled.Partial() && n.Stage == catalogue.Projection {
			continue
		}
		// A value that may be anything explains one wrong element, whatever the cause is.
		if n.Step == 0 && o.Comparison.Outside < 2 {
			continue
		}
		q := newNumberSearch(ctx, part, n, right)
		if m, ok := q.find(s); ok {
			found = append(found, m)
		}
	}
	if ctx.Err() != nil {
		return nil, "not every number of the configuration was searched, and no two mistakes at once"
	}
	return withMargin(found, s.next), ""
}

// withMargin fills in the distance of the nearest other explanation. It returns nil if that comes
// about as near as a match.
func withMargin(found []NumberMatch, next float64) []NumberMatch {
	for i := range found {
		found[i].Next = next
		if next/found[i].Residual < compare.MinMargin {
			return nil
		}
	}
	return found
}

// find searches the value that gives the output, and confirms it on the whole case. It reports
// false if there is none. Other values of a number that is found are no other explanations.
func (q *numberSearch) find(s *search) (NumberMatch, bool) {
	missed := newSearch()
	for _, value := range q.candidates() {
		off := q.residual(value)
		if !(off <= compare.MaxResidual) {
			missed.miss(off)
			continue
		}
		if m, ok := q.confirm(missed, value); ok {
			return m, true
		}
	}
	s.miss(missed.next)
	return NumberMatch{}, false
}

// confirm computes the whole case with a value and its noise. It reports false if the output is
// not explained, or if nothing bounds the value: then another mistake is behind it.
func (q *numberSearch) confirm(s *search, value float64) (NumberMatch, bool) {
	c, ok := q.explains(value)
	close := c.Rel <= compare.MaxResidual && !q.part.output.Sampled.Partial()
	if !ok && close && q.number.Step == 0 {
		value = q.onWholeCase().polished(near{value, math.Inf(1)}).value
		c, ok = q.explains(value)
	}
	if !ok {
		if c.NonFinite == 0 {
			s.miss(c.Rel)
		}
		return NumberMatch{}, false
	}
	m := NumberMatch{Number: q.number, Value: value, Right: q.right, With: q.with}
	if alike := q.number.Alike; alike != nil {
		m.Alike = alike(q.part.output.Case.Problem)
	}
	if m.Least, ok = q.bound(value, -1); !ok {
		return NumberMatch{}, false
	}
	if m.Most, ok = q.bound(value, 1); !ok {
		return NumberMatch{}, false
	}
	m.Value, c = q.chosen(m, c)
	if q.part.output.Sampled.Partial() {
		if c, ok = q.compared(m.Value, nil); !ok {
			return NumberMatch{}, false
		}
	}
	m.Residual, m.MaxZ = c.Rel, c.MaxZ
	return m, true
}

// chosen returns the value to name: the nearest whole number, or a round one, if the output allows
// several. c is the comparison with the match's own value.
func (q *numberSearch) chosen(m NumberMatch, c compare.Comparison) (float64, compare.Comparison) {
	step := float64(q.number.Step)
	if step == 0 {
		round := roundest(q.number.Usual, m)
		if other, ok := q.explains(round); ok {
			return round, other
		}
		return m.Value, c
	}
	best := m.Value
	for v := m.Least; v <= m.Most; v += step {
		if other, _ := q.explains(v); other.RMSZ < c.RMSZ {
			best, c = v, other
		}
	}
	return best, c
}

// bound returns the last value, downwards or upwards, that still explains the output. The right
// value does not. It reports false if the end of the number's range explains the output as well.
func (q *numberSearch) bound(value float64, direction float64) (last float64, ok bool) {
	if step := float64(q.number.Step); step > 0 {
		for last = value; ; last += direction * step {
			next := last + direction*step
			if next == q.right || next < q.least || next > q.most {
				return last, true
			}
			if _, ok := q.explains(next); !ok {
				return last, true
			}
		}
	}
	end := q.most
	if direction < 0 {
		end = q.least
	}
	if (q.right-value)*direction > 0 {
		end = q.right
	} else if _, open := q.explains(end); open {
		if _, ok := q.explains(0); ok && q.number.Vanishes && direction < 0 {
			return 0, true
		}
		return end, false
	}
	return q.boundary(value, end), true
}

// boundary returns the last value on the way to an end that does not explain the output.
func (q *numberSearch) boundary(value, end float64) float64 {
	const first, halvings = 1e-10, 12
	from, to := q.coordinate(value), q.coordinate(end)
	explains := func(part float64) bool {
		_, ok := q.explains(q.valueAt(from + part*(to-from)))
		return ok
	}
	in, out := 0.0, first
	for out < 1 && explains(out) {
		in, out = out, 8*out
	}
	out = min(out, 1)
	for range halvings {
		if middle := (in + out) / 2; explains(middle) {
			in = middle
		} else {
			out = middle
		}
	}
	return q.valueAt(from + in*(to-from))
}

// roundest returns a usual value between the bounds of a match, or otherwise the value with the
// fewest digits there.
func roundest(usual []float64, m NumberMatch) float64 {
	if i := slices.IndexFunc(usual, func(v float64) bool { return m.Least <= v && v <= m.Most }); i >= 0 {
		return usual[i]
	}
	for digits := range 15 {
		if v := roundTo(m.Value, digits+1); m.Least <= v && v <= m.Most {
			return v
		}
	}
	return m.Value
}

// roundTo rounds a value to a number of significant digits.
func roundTo(value float64, digits int) float64 {
	if value == 0 {
		return 0
	}
	scale := math.Pow(10, float64(digits)-1-math.Floor(math.Log10(math.Abs(value))))
	return math.Round(value*scale) / scale
}
