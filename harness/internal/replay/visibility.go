package replay

import (
	"context"
	"fmt"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Visibility tells which known mistakes a case can see.
type Visibility struct {
	Seen   []catalogue.Mistake   // their output is outside the noise
	Blind  []Blindness           // their output is within the noise
	Absent []catalogue.Mistake   // the case has nothing that they change
	Alike  [][]catalogue.Mistake // groups of seen mistakes with the same output on this case
}

// Blindness is a mistake that a case cannot see.
type Blindness struct {
	Mistake catalogue.Mistake
	Why     string
}

// Class is [Visibility.ClassAmong] for the catalogue of attention.
func (v Visibility) Class() []int { return v.ClassAmong(catalogue.Mistakes) }

// ClassAmong maps each of the mistakes of a catalogue to the index of one representative with the
// same output on this case, or to -1 if the mistake is invisible here.
func (v Visibility) ClassAmong(mistakes []catalogue.Mistake) []int {
	class := make([]int, len(mistakes))
	for i := range class {
		class[i] = -1
	}
	index := func(m catalogue.Mistake) int {
		return slices.IndexFunc(mistakes, func(other catalogue.Mistake) bool { return other.ID == m.ID })
	}
	for _, m := range v.Seen {
		class[index(m)] = index(m)
	}
	for _, group := range v.Alike {
		for _, m := range group {
			class[index(m)] = index(group[0])
		}
	}
	return class
}

// Visibility makes every known mistake on the case and sorts the mistakes. It leaves out variants.
func (c *Case) Visibility() Visibility {
	var v Visibility
	made := map[string]Replay{}
	var groups []group
	all, _ := c.replays(context.Background(), every) // a background context never ends
	for _, r := range all {
		made[r.Mistake.ID] = r
		if r.Mistake.VariantOf == "" && c.sees(r) {
			groups = c.grouped(groups, r)
		}
	}
	for _, m := range c.known {
		switch r, applies := made[m.ID]; {
		case m.VariantOf != "":
		case !applies:
			v.Absent = append(v.Absent, m)
		case c.sees(r):
			v.Seen = append(v.Seen, m)
		default:
			v.Blind = append(v.Blind, Blindness{m, c.why(r)})
		}
	}
	for _, g := range groups {
		if len(g.alike) > 1 {
			v.Alike = append(v.Alike, g.alike)
		}
	}
	return v
}

// sees reports whether a mistake shows in the sample or, if the sample is partial, in another
// row.
func (c *Case) sees(r Replay) bool {
	if r.visible() || !c.sample.Partial() || !r.Mistake.Replayable() {
		return r.visible()
	}
	f := c.output(r.Mistake, nil, oracle.ValuesAlone)
	return !compare.Outputs(f.Shape, f.Value, c.Truth).OK()
}

// group is mistakes with the same output.
type group struct {
	alike []catalogue.Mistake
	first []float64         // output of the first mistake
	noise *compare.Expected // the same output with its noise; nil until another mistake comes near
}

// grouped adds a mistake to the group with the same output, within the noise and near, or begins
// a group. Random outputs are never the same.
func (c *Case) grouped(groups []group, r Replay) []group {
	if !r.Mistake.Replayable() {
		return append(groups, group{alike: []catalogue.Mistake{r.Mistake}})
	}
	out := c.sampledValues(r)
	for i := range groups {
		g := &groups[i]
		if !g.alike[0].Replayable() || !(compare.Residual(out, g.first) <= compare.MaxResidual) {
			continue
		}
		if g.noise == nil {
			noise := c.output(g.alike[0], c.sample.Rows, oracle.WithNoise).Expected()
			g.noise = &noise
		}
		if compare.Outputs(g.noise.Shape, out, *g.noise).OK() {
			g.alike = append(g.alike, r.Mistake)
			return groups
		}
	}
	return append(groups, group{alike: []catalogue.Mistake{r.Mistake}, first: out})
}

// why explains what hides a mistake: the size of the noise or, if the output does not change at
// all, what the case has too little of.
func (c *Case) why(r Replay) string {
	first := r.Comparisons[0]
	if first.Rel > 0x1p-40 {
		return fmt.Sprintf("it changes the output by %.2g of it, max z %.2g: within the noise", first.Rel, first.MaxZ)
	}
	for _, poor := range poverty {
		if slices.Contains(poor.hides, r.Mistake.Kind) && poor.holds(c.Problem) {
			return "the output is the same: " + poor.text
		}
	}
	return "the output is the same"
}

// poverty lists conditions under which a case hides mistakes of some kinds.
var poverty = []struct {
	hides []catalogue.Kind
	text  string
	holds func(*oracle.Problem) bool
}{
	{
		hides: []catalogue.Kind{catalogue.Missing, catalogue.Altered},
		text:  "one query, and every key is in its past",
		holds: func(p *oracle.Problem) bool { return length(p) == 1 && p.Offset > 0 },
	},
	{
		hides: []catalogue.Kind{catalogue.Missing, catalogue.Altered},
		text:  "every query sees one key at most",
		holds: func(p *oracle.Problem) bool { return p.Turn == nil && slices.Max(p.Visible()) <= 1 },
	},
	{
		hides: []catalogue.Kind{catalogue.Altered},
		text:  "a window as narrow as this hides the same keys",
		holds: func(p *oracle.Problem) bool { return p.Window > 0 },
	},
	{
		hides: []catalogue.Kind{catalogue.Layout},
		text:  "one position",
		holds: func(p *oracle.Problem) bool { return length(p) == 1 },
	},
	{
		hides: []catalogue.Kind{catalogue.Layout},
		text:  "one batch element",
		holds: func(p *oracle.Problem) bool { return p.Query.Shape[0] == 1 },
	},
}

// length returns the number of queries.
func length(p *oracle.Problem) int { return p.Query.Shape[len(p.Query.Shape)-2] }
