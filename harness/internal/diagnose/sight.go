package diagnose

import (
	"context"
	"fmt"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
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
	var groups []group
	all, _ := r.replays(context.Background()) // which never ends
	for _, replay := range all {
		made[replay.mistake.ID] = replay
		if r.sees(replay) {
			groups = r.grouped(groups, replay)
		}
	}
	for _, m := range r.known {
		switch replay, applies := made[m.ID]; {
		case !applies:
			s.Absent = append(s.Absent, m)
		case r.sees(replay):
			s.Seen = append(s.Seen, m)
		default:
			s.Blind = append(s.Blind, Blindness{m, r.why(replay)})
		}
	}
	for _, g := range groups {
		if len(g.alike) > 1 {
			s.Alike = append(s.Alike, g.alike)
		}
	}
	return s
}

// sees says whether a mistake shows in the sample or, where that is not all, elsewhere.
func (r *Reference) sees(made replay) bool {
	if made.visible() || !r.sample.partial() || !made.mistake.Replayable() {
		return made.visible()
	}
	f := r.output(made.mistake, nil, oracle.ValuesAlone)
	return !compare.Outputs(f.Shape, f.Value, r.truth).OK()
}

// output computes what a mistake that applies gives in some rows; nil: all.
func (r *Reference) output(m catalogue.Mistake, rows []int, d oracle.Detail) oracle.Field {
	wrong, _ := catalogue.Make(r.problem, nil, m)
	f, _ := wrong.Rows(context.Background(), rows, d)
	return f
}

// group is mistakes that give the same output.
type group struct {
	alike []catalogue.Mistake
	first []float64         // the output of the first of them
	noise *compare.Expected // the same with its noise; nil until somebody comes near
}

// grouped adds a mistake to the group whose output it gives, within the noise of that and near it, or begins
// one. No two random outputs are alike.
func (r *Reference) grouped(groups []group, made replay) []group {
	out := made.outputs[0]
	for i := range groups {
		g := &groups[i]
		if !made.mistake.Replayable() || !g.alike[0].Replayable() || !(distance(out, g.first) <= near) {
			continue
		}
		if g.noise == nil {
			noise := r.output(g.alike[0], r.sample.rows, oracle.WithNoise).Expected()
			g.noise = &noise
		}
		if compare.Outputs(g.noise.Shape, out, *g.noise).OK() {
			g.alike = append(g.alike, made.mistake)
			return groups
		}
	}
	return append(groups, group{alike: []catalogue.Mistake{made.mistake}, first: out})
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
