package fit

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// twin returns the explanation that gives the same output with other output weights where one with
// other value weights does, or the reverse. A head's values times a matrix, and its part of the
// output weight times that matrix, are the same on every case. The result does not hold if there is
// none.
func (f *fitter) twin(one attempt) attempt {
	var other attempt
	l := f.p.Layer
	group := l.Heads / l.KVHeads
	switch {
	case one.free.bias || one.problem == nil || len(one.free.projections) > 1:
		return other
	case one.free.is(ValueProjection):
		other.free = freeSet{projections: []Projection{OutputProjection}}
		if one.free.heads != nil && l.Value.Bias == nil { // a value bias moves the output bias
			other.free.heads = one.free.queryHeads(l)
		}
		other.problem = f.outputOfValues(one.problem, group)
	case one.free.is(OutputProjection):
		other.free = freeSet{projections: []Projection{ValueProjection}}
		for _, h := range one.free.heads {
			if h%group == 0 {
				other.free.heads = append(other.free.heads, h/group)
			}
		}
		other.problem = f.valuesOfOutput(one.problem, group)
	}
	if other.problem == nil {
		return other
	}
	other.Freed, other.Parameters = other.free.text(l, f.placements), other.free.names(l, f.placements)
	return f.polished(other)
}

// polished takes steps of least squares from a twin that is near the output already: the
// explanation from which it was made has noise.
func (f *fitter) polished(twin attempt) attempt {
	const near = 1e-3 // of the output's distance from the truth
	start := compare.Outputs(f.shape, f.got, twin.problem.Run().Expected())
	off := compare.Outputs(f.shape, f.got, f.trace.Output.Expected())
	twin.Residual, twin.MaxZ, twin.Holds = start.Rel, start.MaxZ, start.Explained()
	if twin.Holds || !(start.Rel <= near*off.Rel) {
		return twin
	}
	return f.solve(twin, newJacobian(twin.problem, twin.free).blocks(), twin.problem, 1)
}

// outputOfValues returns the right problem with the output weight and bias that have the effect of
// another problem's values; nil if least squares finds none.
func (f *fitter) outputOfValues(wrong *oracle.Problem, group int) *oracle.Problem {
	p, t, found := f.p.Clone(), f.trace, wrong.Trace()
	w, ev := p.Layer.Output, t.ValueWidth
	perBatch := p.Layer.KVHeads
	for g := range perBatch {
		var right, other [][]float64
		for n := g; n < t.KVHeads; n += perBatch {
			for j := range t.Keys {
				weight, at := f.shownOf(n, j), (n*t.Keys+j)*ev
				if weight == 0 {
					continue
				}
				right = append(right, scaled(weight, append(slices.Clone(t.Value[at:][:ev]), 1)))
				other = append(other, scaled(weight, found.Value[at:][:ev]))
			}
		}
		by := mapping(right, other)
		if by == nil {
			return nil
		}
		shift := by.RawRowView(ev)
		for h := g * group; h < (g+1)*group; h++ {
			for o := range w.Out {
				part := w.Weight[o*w.In+h*ev:][:ev]
				if w.Bias != nil {
					w.Bias[o] += num.Dot(part, shift)
				}
				copy(part, times(by, part))
			}
		}
	}
	return p
}

// shownOf returns how much the output shows of a value: the root of the summed squares of its
// weights.
func (f *fitter) shownOf(n, j int) float64 {
	t, sum := f.trace, 0.0
	for head := n * t.Group; head < (n+1)*t.Group; head++ {
		for i := range t.Queries {
			w := t.Weights[(head*t.Queries+i)*t.Keys+j]
			sum += w * w
		}
	}
	return math.Sqrt(sum)
}

// valuesOfOutput returns the right problem with the value weight and bias that have the effect of
// another problem's output weight and bias; nil if least squares finds none.
func (f *fitter) valuesOfOutput(wrong *oracle.Problem, group int) *oracle.Problem {
	p, ev := f.p.Clone(), f.trace.ValueWidth
	w, found, v := f.p.Layer.Output, wrong.Layer.Output, p.Layer.Value
	shift := f.valueShift(wrong, group)
	for g := range p.Layer.KVHeads {
		var right, other [][]float64
		for o := range w.Out {
			at := o*w.In + g*group*ev
			right, other = append(right, w.Weight[at:][:ev]), append(other, found.Weight[at:][:ev])
		}
		by := mapping(right, other)
		if by == nil {
			return nil
		}
		for i := range v.In {
			column := make([]float64, ev)
			for c := range column {
				column[c] = v.Weight[(g*ev+c)*v.In+i]
			}
			for c, value := range times(by, column) {
				v.Weight[(g*ev+c)*v.In+i] = value
			}
		}
		if v.Bias != nil {
			part := v.Bias[g*ev:][:ev]
			copy(part, times(by, part))
			num.AddScaled(1, shift[g*ev:][:ev], part)
		}
	}
	return p
}

// valueShift returns the vector to add to all values that has the effect of another output bias.
func (f *fitter) valueShift(wrong *oracle.Problem, group int) []float64 {
	w, other := f.p.Layer.Output, wrong.Layer.Output
	ev, width := f.trace.ValueWidth, f.p.Layer.Value.Out
	if w.Bias == nil {
		return make([]float64, width)
	}
	var rows, sums [][]float64
	for o := range w.Out {
		row := make([]float64, width)
		for c := range w.In {
			row[c/(group*ev)*ev+c%ev] += w.Weight[o*w.In+c]
		}
		rows, sums = append(rows, row), append(sums, []float64{other.Bias[o] - w.Bias[o]})
	}
	by := mapping(rows, sums)
	if by == nil {
		return make([]float64, width)
	}
	return by.RawMatrix().Data
}

// scaled returns a list times a number.
func scaled(by float64, list []float64) []float64 {
	out := make([]float64, len(list))
	num.AddScaled(by, list, out)
	return out
}

// times returns the first rows of a matrix, as many as there are columns, times a vector.
func times(by *mat.Dense, v []float64) []float64 {
	out := make([]float64, len(v))
	for c := range out {
		out[c] = num.Dot(by.RawRowView(c), v)
	}
	return out
}

// mapping returns the matrix that turns the rows of one list into the rows of another by least
// squares; nil if it is not unique, or explains any rows.
func mapping(from, to [][]float64) *mat.Dense {
	if len(from) == 0 || len(from) < len(from[0])+surplus {
		return nil
	}
	a, b := mat.NewDense(len(from), len(from[0]), nil), mat.NewDense(len(to), len(to[0]), nil)
	for i := range from {
		a.SetRow(i, from[i])
		b.SetRow(i, to[i])
	}
	var by mat.Dense
	if by.Solve(a, b) != nil {
		return nil
	}
	return &by
}
