package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// Parameter is where the state dict has one of the four maps of a layer.
type Parameter struct {
	Weight, Bias string
	Part         string        // of the weight: "query part" where it holds several maps; "" where it holds one
	BiasPart     string        // the same of the bias
	Row          func(int) int // of the tensors, for each row of the map; nil: the same
	InOut        bool          // the weight is (in, out): its columns are the map's rows
}

// freedom is what a fit may change: the rest is right.
type freedom struct {
	maps  []Projection
	heads []int // those of key and value for their maps; nil: all
	bias  bool  // the bias alone
}

// headsOf is how many heads a map serves.
func headsOf(l *oracle.Layer, m Projection) int {
	if m == KeyMap || m == ValueMap {
		return l.KVHeads
	}
	return l.Heads
}

// frees says whether element i of row o of a map is free; element In is the bias.
func (f freedom) frees(l *oracle.Layer, m Projection, o, i int) bool {
	linear := l.Projections()[m]
	switch {
	case i == linear.In && linear.Bias == nil, i < linear.In && f.bias:
		return false
	case f.heads == nil:
		return true
	case m == OutputMap: // whose bias belongs to no head
		return i < linear.In && slices.Contains(f.heads, i*l.Heads/linear.In)
	}
	return slices.Contains(f.heads, o*headsOf(l, m)/linear.Out)
}

// queryHeads are the heads of queries that free heads serve.
func (f freedom) queryHeads(l *oracle.Layer) []int {
	group := l.Heads / headsOf(l, f.maps[0])
	var heads []int
	for _, h := range f.heads {
		heads = append(heads, upTo(l.Heads)[h*group:(h+1)*group]...)
	}
	return heads
}

// is says that a fit freed this map alone.
func (f freedom) is(m Projection) bool { return len(f.maps) == 1 && f.maps[0] == m }

// names are the tensors of the state dict that are free.
func (f freedom) names(l *oracle.Layer, of [4]Parameter) []string {
	var names []string
	for _, m := range f.maps {
		for _, name := range []string{of[m].Weight, of[m].Bias} {
			isBias := name == of[m].Bias
			if isBias && (l.Projections()[m].Bias == nil || f.heads != nil && m == OutputMap) || !isBias && f.bias {
				continue
			}
			if name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// text says what is free: "the value weight and bias (v_proj.weight, v_proj.bias)".
func (f freedom) text(l *oracle.Layer, of [4]Parameter) string {
	var maps []string
	for _, m := range f.maps {
		maps = append(maps, m.String())
	}
	what := "weight"
	switch {
	case f.bias:
		what = "bias"
	case f.heads == nil && slices.ContainsFunc(f.maps, func(m Projection) bool { return l.Projections()[m].Bias != nil }):
		what = "weight and bias"
	}
	text := "the " + strings.Join(maps, " and ") + " " + what
	if f.heads != nil {
		kind := "head"
		if headsOf(l, f.maps[0]) < l.Heads {
			kind = "key head"
		}
		text += fmt.Sprintf(" of %s %s", kind, Ranges(f.heads))
	}
	if of[f.maps[0]].Weight != "" {
		text += " (" + f.tensors(l, of) + ")"
	}
	return text
}

// tensors names what is free in a state dict.
func (f freedom) tensors(l *oracle.Layer, of [4]Parameter) string {
	var words []string
	for _, m := range f.maps {
		at := of[m]
		if !f.bias {
			words = append(words, f.place(l, of)+at.Weight)
		}
		switch part := at.BiasPart; {
		case l.Projections()[m].Bias == nil, f.heads != nil && m == OutputMap:
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

// place says which rows or columns of a weight are free, or which part of it.
func (f freedom) place(l *oracle.Layer, of [4]Parameter) string {
	m := f.maps[0]
	part := ""
	if len(f.maps) == 1 && of[m].Part != "" {
		part = of[m].Part + " of "
	}
	if f.heads == nil {
		return part
	}
	linear, in := l.Projections()[m], of[m].InOut
	length, rows := linear.Out/headsOf(l, m), of[m].Row
	if m == OutputMap {
		length, in = linear.In/l.Heads, !in
		rows = nil
	}
	var places []int
	for _, h := range f.heads {
		for i := h * length; i < (h+1)*length; i++ {
			if rows != nil {
				places = append(places, rows(i))
			} else {
				places = append(places, i)
			}
		}
	}
	word := "rows"
	if in {
		word = "columns"
	}
	return fmt.Sprintf("%s %s of ", word, Ranges(places))
}

// Ranges writes a sorted list of numbers: "0-3, 5"; "" where there is none.
func Ranges(list []int) string {
	var words []string
	for i := 0; i < len(list); {
		end := i
		for end+1 < len(list) && list[end+1] == list[end]+1 {
			end++
		}
		word := fmt.Sprint(list[i])
		if end > i {
			word += fmt.Sprintf("-%d", list[end])
		}
		words = append(words, word)
		i = end + 1
	}
	return strings.Join(words, ", ")
}
