package diagnose

import (
	"fmt"
	"slices"

	"github.com/difftest/difftest/harness/catalogue"
	"github.com/difftest/difftest/harness/compare"
	"github.com/difftest/difftest/harness/oracle"
)

// Sight is what a case can say of the known mistakes.
type Sight struct {
	Seen   []catalogue.Mistake   // their output is outside the noise
	Blind  []Blindness           // made here, their output is within it
	Absent []catalogue.Mistake   // the case has nothing to get wrong so
	Alike  [][]catalogue.Mistake // groups of seen ones that give the same output here
}

// Blindness is a mistake that a case cannot see.
type Blindness struct {
	Mistake catalogue.Mistake
	Why     string
}

// Class is which of the known mistakes, by its place in [catalogue.Mistakes], stands for each of them on this
// case: those that give the same output share a place, and -1 is the right output.
func (s Sight) Class() []int {
	class := make([]int, len(catalogue.Mistakes))
	for i := range class {
		class[i] = -1
	}
	place := func(m catalogue.Mistake) int {
		return slices.IndexFunc(catalogue.Mistakes, func(other catalogue.Mistake) bool { return other.ID == m.ID })
	}
	for _, m := range s.Seen {
		class[place(m)] = place(m)
	}
	for _, group := range s.Alike {
		for _, m := range group {
			class[place(m)] = place(group[0])
		}
	}
	return class
}

// Sight makes every known mistake on a case.
func (r *Reference) Sight() Sight {
	var s Sight
	made := map[string]replay{}
	var groups [][]replay
	for _, replay := range r.replays() {
		made[replay.mistake.ID] = replay
		if replay.visible() {
			groups = grouped(groups, replay)
		}
	}
	for _, m := range r.known {
		switch replay, applies := made[m.ID]; {
		case !applies:
			s.Absent = append(s.Absent, m)
		case replay.visible():
			s.Seen = append(s.Seen, m)
		default:
			s.Blind = append(s.Blind, Blindness{m, r.why(replay)})
		}
	}
	for _, group := range groups {
		var alike []catalogue.Mistake
		for _, replay := range group {
			alike = append(alike, replay.mistake)
		}
		if len(alike) > 1 {
			s.Alike = append(s.Alike, alike)
		}
	}
	return s
}

// grouped adds a mistake to the group whose output it gives, within the noise of that, or begins one.
// No two random outputs are alike.
func grouped(groups [][]replay, made replay) [][]replay {
	for i, group := range groups {
		first := group[0]
		if !made.mistake.Replayable() || !first.mistake.Replayable() {
			continue
		}
		if out := made.outputs[0]; compare.Outputs(out.Shape, out.Value, first.outputs[0]).OK() {
			groups[i] = append(group, made)
			return groups
		}
	}
	return append(groups, []replay{made})
}

// why says by what a mistake is hidden: what the case has too little of, where the output is the
// very same, or how large the noise is.
func (r *Reference) why(made replay) string {
	c := made.against[0]
	if c.Rel > 0x1p-40 {
		return fmt.Sprintf("it changes the output by %.2g of it, max z %.2g: within the noise", c.Rel, c.MaxZ)
	}
	for _, poor := range poverty {
		if slices.Contains(poor.hides, made.mistake.Kind) && poor.holds(r.problem) {
			return "the output is the same: " + poor.text
		}
	}
	return "the output is the same"
}

// poverty is what hides mistakes of some kinds.
var poverty = []struct {
	hides []catalogue.Kind
	text  string
	holds func(*oracle.Problem) bool
}{
	{[]catalogue.Kind{catalogue.Missing, catalogue.Altered}, "one query, and every key is in its past", func(p *oracle.Problem) bool { return length(p) == 1 && p.Offset > 0 }},
	{[]catalogue.Kind{catalogue.Missing, catalogue.Altered}, "every query sees one key at most", func(p *oracle.Problem) bool { return slices.Max(p.Visible()) <= 1 }},
	{[]catalogue.Kind{catalogue.Altered}, "a window as narrow as this hides the same keys", func(p *oracle.Problem) bool { return p.Window > 0 }},
	{[]catalogue.Kind{catalogue.Layout}, "one position", func(p *oracle.Problem) bool { return length(p) == 1 }},
	{[]catalogue.Kind{catalogue.Layout}, "one batch element", func(p *oracle.Problem) bool { return p.Query.Shape[0] == 1 }},
}

func length(p *oracle.Problem) int { return p.Query.Shape[len(p.Query.Shape)-2] }
