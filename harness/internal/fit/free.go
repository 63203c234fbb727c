package fit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// freeSet is the set of parameters that a fit may change. All others keep their right values.
type freeSet struct {
	projections []Projection
	heads       []int // of key and value heads for their projections; nil means all
	bias        bool  // only the bias is free
}

// is reports whether a set has one projection, this one.
func (f freeSet) is(m Projection) bool { return len(f.projections) == 1 && f.projections[0] == m }

// whole reports whether weights and biases of all heads are free.
func (f freeSet) whole() bool { return f.heads == nil && !f.bias }

// frees reports whether element i of row o of a projection is free. Element In is the bias.
func (f freeSet) frees(l *oracle.Layer, m Projection, o, i int) bool {
	linear := l.Projections()[m]
	switch {
	case i == linear.In && linear.Bias == nil, i < linear.In && f.bias:
		return false
	case f.heads == nil:
		return true
	case m == OutputProjection && i == linear.In: // its bias belongs to no head
		return false
	}
	return slices.Contains(f.heads, headOf(l, m, o, i))
}

// headOf returns the head that element i of row o of a projection's weight belongs to.
func headOf(l *oracle.Layer, m Projection, o, i int) int {
	linear := l.Projections()[m]
	if m == OutputProjection {
		return i * l.Heads / linear.In
	}
	return o * headsOf(l, m) / linear.Out
}

// counterpart returns the part of another projection that serves the heads of the set.
func (f freeSet) counterpart(l *oracle.Layer, m Projection) freeSet {
	other := freeSet{projections: []Projection{m}, bias: f.bias && l.Projections()[m].Bias != nil}
	for _, h := range f.queryHeads(l) {
		h = h * headsOf(l, m) / l.Heads
		if !slices.Contains(other.heads, h) {
			other.heads = append(other.heads, h)
		}
	}
	return other
}

// queryHeads returns the query heads that the free heads serve.
func (f freeSet) queryHeads(l *oracle.Layer) []int {
	group := l.Heads / headsOf(l, f.projections[0])
	var heads []int
	for _, h := range f.heads {
		heads = append(heads, num.UpTo(l.Heads)[h*group:(h+1)*group]...)
	}
	return heads
}

// names returns the names of the free tensors in the state dict.
func (f freeSet) names(l *oracle.Layer, of [4]attention.Placement) []string {
	var names []string
	for _, m := range f.projections {
		for _, name := range []string{of[m].Weight, of[m].Bias} {
			isBias := name == of[m].Bias
			if isBias && !f.freesBias(l, m) || !isBias && f.bias {
				continue
			}
			if name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// freesBias reports whether a projection has a bias that is free.
func (f freeSet) freesBias(l *oracle.Layer, m Projection) bool {
	return l.Projections()[m].Bias != nil && (f.heads == nil || m != OutputProjection)
}

// text describes the set: "the value weight and bias (v_proj.weight, v_proj.bias)".
func (f freeSet) text(l *oracle.Layer, of [4]attention.Placement) string {
	var projections []string
	for _, m := range f.projections {
		projections = append(projections, m.String())
	}
	hasBias := func(m Projection) bool { return l.Projections()[m].Bias != nil }
	kind := "weight"
	switch {
	case f.bias:
		kind = "bias"
	case f.heads == nil && slices.ContainsFunc(f.projections, hasBias):
		kind = "weight and bias"
	}
	text := "the " + strings.Join(projections, " and ") + " " + kind
	if f.heads != nil {
		head := "head"
		if headsOf(l, f.projections[0]) < l.Heads {
			head = "key head"
		}
		text += fmt.Sprintf(" of %s %s", head, num.Ranges(f.heads))
	}
	if of[f.projections[0]].Weight != "" {
		text += " (" + f.tensors(l, of) + ")"
	}
	return text
}

// tensors describes the free tensors of a state dict.
func (f freeSet) tensors(l *oracle.Layer, of [4]attention.Placement) string {
	var words []string
	for _, m := range f.projections {
		at := of[m]
		if !f.bias {
			words = append(words, f.place(l, m, of)+at.Weight)
		}
		switch part := at.BiasPart; {
		case !f.freesBias(l, m):
		case f.heads != nil:
			words = append(words, "and their part of "+at.Bias)
		case part != "" && (f.bias || at.Part == ""):
			words = append(words, part+" of "+at.Bias)
		default:
			words = append(words, at.Bias)
		}
	}
	return strings.Join(words, ", ")
}

// place describes which rows, columns or part of a weight are free: "rows 0-3 of ". It returns ""
// if all of the weight is.
func (f freeSet) place(l *oracle.Layer, m Projection, of [4]attention.Placement) string {
	if f.heads == nil {
		if of[m].Part != "" {
			return of[m].Part + " of "
		}
		return ""
	}
	linear, inColumns := l.Projections()[m], of[m].InOut
	length, row := linear.Out/headsOf(l, m), of[m].Row
	if m == OutputProjection {
		length, inColumns = linear.In/l.Heads, !inColumns
		row = nil
	}
	var places []int
	for _, h := range f.heads {
		for i := h * length; i < (h+1)*length; i++ {
			if row != nil {
				places = append(places, row(i))
			} else {
				places = append(places, i)
			}
		}
	}
	word := "rows"
	if inColumns {
		word = "columns"
	}
	return fmt.Sprintf("%s %s of ", word, num.Ranges(places))
}
