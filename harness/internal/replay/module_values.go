package replay

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
)

// ValueMatch is a parameter that gives an output with other values, everything else being right.
// The bias of a layer may have other values, too.
type ValueMatch struct {
	Keys     []string // in the state dict
	Where    string   // path of the only module of several that takes these values, else ""
	Changed  string   // "3 of its 64 columns"; "" if most of the parameter has other values
	Unknowns int      // elements of the parameter that least squares found
	Rows     int      // wrong rows of the output
	// Equations is how many the unknown elements have. It is 0 if each half of the wrong rows was
	// predicted from the other half and the right rows.
	Equations int
	Residual  float64
	MaxZ      float64 // in units of the case's sigma
}

// Title names the parameter: "head.weight (3 of its 64 columns)".
func (v ValueMatch) Title() string {
	title := strings.Join(v.Keys, " and ")
	if v.Where != "" {
		title += " in " + v.Where + " alone"
	}
	if v.Changed != "" {
		title += " (" + v.Changed + ")"
	}
	return title
}

// FindOtherValues looks for a parameter whose other values give an output: see [Module.FindValues]
// and [Module.FindWeights].
func (m *Module) FindOtherValues(ctx context.Context, got []float64) ([]ValueMatch, Cut) {
	small, cut := m.FindValues(ctx, got)
	if cut != "" {
		return nil, cut
	}
	weights, cut := m.FindWeights(ctx, got)
	if cut != "" {
		return nil, cut
	}
	alone := len(small)
	for _, v := range weights {
		// A bias that gives the output alone needs no other weight besides.
		if !slices.ContainsFunc(small[:alone], func(s ValueMatch) bool { return slices.Contains(v.Keys, s.Keys[0]) }) {
			small = append(small, v)
		}
	}
	return small, ""
}

// FindValues looks for a parameter whose other values give an output. Least squares finds values
// that give all of it. They prove nothing where they could give any output: each half of the wrong
// rows must also follow from the other half and from the right rows. FindValues returns several
// parameters if the case cannot tell them apart.
//
// It asks about parameters of few elements. Other weights have more unknowns than most outputs have
// equations.
func (m *Module) FindValues(ctx context.Context, got []float64) ([]ValueMatch, Cut) {
	q := newValueSearch(ctx, m, got)
	if q == nil {
		return nil, ""
	}
	fits := q.all()
	if ctx.Err() != nil {
		return nil, "other values of parameters were not all tried"
	}
	s := newSearch()
	s.miss(compare.Residual(got, m.Truth.Value))
	var found []ValueMatch
	for _, f := range fits {
		if f.ValueMatch.Rows > 0 {
			found = append(found, f.ValueMatch)
		} else {
			s.miss(f.Residual)
		}
	}
	for _, f := range found {
		if !(s.next >= compare.MinMargin*f.Residual) {
			return nil, ""
		}
	}
	return found, ""
}

// leastWrongRows is how many rows must be wrong. Fewer do not tell one cause from another.
const leastWrongRows = 4

// valueSearch looks for parameters that give one output with other values.
type valueSearch struct {
	ctx    context.Context
	module *Module
	got    []float64
	width  int   // elements in a row
	wrong  []int // rows that are wrong
}

// newValueSearch returns nil if the output cannot prove anything about a parameter.
func newValueSearch(ctx context.Context, m *Module, got []float64) *valueSearch {
	shape := m.Truth.Shape
	if len(shape) < 2 || m.lower || num.Last(shape) == 0 {
		return nil
	}
	q := &valueSearch{ctx: ctx, module: m, got: got, width: num.Last(shape)}
	c := compare.Outputs(shape, got, m.Truth)
	for row := range len(got) / q.width {
		if slices.ContainsFunc(c.Z[row*q.width:][:q.width], func(z float64) bool { return !(math.Abs(z) <= c.Limits.Z) }) {
			q.wrong = append(q.wrong, row)
		}
	}
	if len(q.wrong) < leastWrongRows {
		return nil
	}
	return q
}

// all answers for every parameter that can be asked about. One step from the right values shows
// which are promising.
func (q *valueSearch) all() []*valueFit {
	const promising = 8
	var fits []*valueFit
	unknowns := 0
	for _, key := range q.module.graph.Parameters {
		if f := q.newFit(key); f != nil {
			fits = append(fits, f)
			unknowns += len(f.from.Data)
		}
	}
	if !q.module.affordable(unknowns) {
		return nil
	}
	q.each("other values of parameters", fits, q.begin)
	fits = slices.DeleteFunc(fits, func(f *valueFit) bool { return !(f.left < 1) })
	slices.SortStableFunc(fits, func(a, b *valueFit) int { return cmp.Compare(a.left, b.left) })
	fits = fits[:min(len(fits), promising)]
	q.each("values of the likeliest parameters", fits, q.descend)
	return fits
}
