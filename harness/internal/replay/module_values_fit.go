package replay

import (
	"maps"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
)

// valueFit is the answer about one parameter. Its Rows are 0 unless the parameter explains the
// output.
type valueFit struct {
	ValueMatch
	graph *graph.Graph           // in which the parameter has a name of its own
	name  string                 // this name
	from  *graph.Tensor[float64] // the right values
	now   []float64              // the values found so far
	off   []float64              // what the output lacks with them, in sigma
	left  float64                // part of the error that the first step leaves
	first *equations             // of the first step; nil if they take much memory

	straight float64 // what a linear output would have lacked after the last step; 0 before any
}

// newFit returns nil if the parameter has too many elements, or if the graph does not use it.
func (q *valueSearch) newFit(key string) *valueFit {
	const most = 200 // elements: each costs a replay in every step
	m := q.module
	if m.values[key] == nil {
		return nil
	}
	from := m.values[key].Wide()
	if len(from.Data) > most || 2*len(from.Data) > len(q.got) {
		return nil
	}
	f := &valueFit{
		ValueMatch: ValueMatch{Keys: []string{key}, Unknowns: len(from.Data), Residual: math.Inf(1)},
		name:       key + "'", from: from, now: slices.Clone(from.Data),
	}
	edit := func(_ *graph.View, n graph.Node) []graph.Node {
		for i, o := range n.Operands {
			if o.Name == key {
				n = n.Put(i, graph.Value(f.name))
			}
		}
		return []graph.Node{n}
	}
	var users []int
	for i, n := range m.graph.Nodes {
		if slices.Contains(n.Operands, graph.Value(key)) && m.asksAbout(n) {
			users = append(users, i)
		}
	}
	if users == nil {
		return nil
	}
	f.graph = m.view.Apply(edit, users).Until(m.output)
	return f
}

// lacking returns what the output lacks with other values of a parameter, in sigma, and nil if no
// program gives an output.
func (q *valueSearch) lacking(f *valueFit, values []float64) []float64 {
	return q.short(q.with(f.graph, f.name, &graph.Tensor[float64]{Shape: f.from.Shape, Data: values}))
}

// short returns what an output lacks, in sigma. It returns nil if there is no output, or no finite
// distance from it.
func (q *valueSearch) short(output []float64) []float64 {
	if output == nil {
		return nil
	}
	off := make([]float64, len(output))
	for i, s := range q.module.Truth.Sigma {
		if s > 0 {
			off[i] = (q.got[i] - output[i]) / s
		}
	}
	if size := product(off, off); math.IsNaN(size) || math.IsInf(size, 0) {
		return nil
	}
	return off
}

// with returns the output of a changed graph that takes a value with a name of its own. It returns
// nil if no program gives one.
func (q *valueSearch) with(g *graph.Graph, name string, value *graph.Tensor[float64]) []float64 {
	m := q.module
	known := maps.Clone(m.values)
	known[name] = value
	outputs, err := graph.Outputs(m.graph, g, known, m.output)
	if err != nil {
		return nil
	}
	return m.blank(outputs[m.output]).Data
}

// columns returns how each element of a parameter moves the output, in sigma; nil if it cannot be
// computed. Differences to both sides are exact enough to see the directions that move nothing.
func (q *valueSearch) columns(f *valueFit, sides []float64) [][]float64 {
	const part = 3e-5 // less would leave the roundings of float64
	move := part * scaleOf(f.from.Data)
	columns := make([][]float64, len(f.now))
	for k := range columns {
		columns[k] = make([]float64, len(q.got))
		for _, side := range sides {
			if q.ctx.Err() != nil {
				return nil
			}
			values := slices.Clone(f.now)
			values[k] += side * move
			off := q.lacking(f, values)
			if off == nil {
				return nil
			}
			for i := range off {
				columns[k][i] += (f.off[i] - off[i]) / (side * move * float64(len(sides)))
			}
		}
	}
	return columns
}

// mostKeptColumns is the number of elements up to which the columns of a screen are kept.
const mostKeptColumns = 1 << 18

// resolved is the part of the columns' products, at least, that a direction has for which the
// columns say something. Columns of one side say less.
const resolved, resolvedByOneSide = 1e-13, 1e-8

// A screen makes do with one side, and so do steps far from an explanation.
var (
	oneSide   = []float64{1}
	bothSides = []float64{1, -1}
)

// scaleOf returns the size of a parameter's elements.
func scaleOf(values []float64) float64 {
	if size := num.RMS(values); size > 0 {
		return size
	}
	return 1
}

// equations are those of least squares for a step of a parameter, about its own axes.
type equations struct {
	columns [][]float64
	axes    mat.Dense
	values  []float64     // how much the used part of the output says about each axis
	right   *mat.VecDense // of the equations
	back    *mat.VecDense // the way to the right values
	size    float64       // largest size of a step
}

// equations returns the equations for some elements of the output, nil if they have no solution.
func (q *valueSearch) equations(f *valueFit, columns [][]float64, use []bool) *equations {
	const wide = 100
	n := len(columns)
	normal, right, back := mat.NewSymDense(n, nil), mat.NewVecDense(n, nil), mat.NewVecDense(n, nil)
	for k := range columns {
		used := masked(columns[k], use)
		for l := range k + 1 {
			normal.SetSym(k, l, num.Dot(used, columns[l]))
		}
		right.SetVec(k, num.Dot(used, f.off))
		back.SetVec(k, f.from.Data[k]-f.now[k])
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(normal, true) {
		return nil
	}
	e := &equations{
		columns: columns, values: eigen.Values(nil), right: right, back: back, size: wide * scaleOf(f.from.Data),
	}
	eigen.VectorsTo(&e.axes)
	right.MulVec(e.axes.T(), right)
	back.MulVec(e.axes.T(), back)
	return e
}

// step returns the step of least squares. In directions that the equations say nothing about, the
// parameter returns to its right values.
//
// Directions are resolved whose part of the columns' products is at least so large.
func (e *equations) step(resolved float64) []float64 {
	n := len(e.values)
	// A found parameter is at most this many times as large as the right one.
	least := max(1/(e.size*e.size), resolved*slices.Max(e.values))
	along := mat.VecDenseCopyOf(e.back)
	for k, value := range e.values {
		if value > least {
			along.SetVec(k, e.right.AtVec(k)/value)
		}
	}
	step := mat.NewVecDense(n, nil)
	step.MulVec(&e.axes, along)
	return step.RawVector().Data
}

// masked returns values with zeros where they are not used.
func masked(values []float64, use []bool) []float64 {
	kept := make([]float64, len(values))
	for i, u := range use {
		if u {
			kept[i] = values[i]
		}
	}
	return kept
}

// after returns what the output lacks after a step, if the output is linear in the parameter.
func after(off []float64, columns [][]float64, step []float64) []float64 {
	left := slices.Clone(off)
	for k, column := range columns {
		num.AddScaled(-step[k], column, left)
	}
	return left
}

// begin takes no step yet, and asks which part of the error a first step would leave.
func (q *valueSearch) begin(f *valueFit) {
	f.left = 1
	if f.off = q.lacking(f, f.now); f.off == nil {
		return
	}
	columns := q.columns(f, oneSide)
	if columns == nil {
		return
	}
	e := q.equations(f, columns, q.everything())
	if e == nil {
		return
	}
	left := after(f.off, columns, e.step(resolved))
	f.left = product(left, left) / product(f.off, f.off)
	if len(columns)*len(q.got) <= mostKeptColumns {
		f.first = e
	}
}

// descend takes steps until they do not help, and asks whether the values found are an explanation.
func (q *valueSearch) descend(f *valueFit) {
	columns := q.steps(f)
	if columns == nil {
		return
	}
	output := q.with(f.graph, f.name, &graph.Tensor[float64]{Shape: f.from.Shape, Data: f.now})
	truth := q.module.Truth
	c := compare.Outputs(truth.Shape, q.got, compare.Expected{
		Shape: truth.Shape, Value: output, Sigma: truth.Sigma, Measured: true, Padded: truth.Padded,
	})
	f.Residual, f.MaxZ = c.Rel, c.MaxZ
	const larger = 64
	if c.Explained() && scaleOf(f.now) <= larger*scaleOf(f.from.Data) && q.proved(f, columns) {
		f.Rows = len(q.wrong)
	}
}

// steps takes steps until they do not help, and returns the columns of the last one, nil if there
// are none. Far from an explanation, columns of one side are good enough. Their errors would hide
// directions that move little, which wait.
func (q *valueSearch) steps(f *valueFit) (columns [][]float64) {
	const most, enough, hopeful = 20, 0.9, 0.5
	whole, exact := product(f.off, f.off), false
	for n := range most {
		before := product(f.off, f.off)
		exact = exact || before <= farFrom*whole
		e, least := q.next(f, n, exact)
		if e == nil {
			return nil
		}
		columns = e.columns
		step := e.step(least)
		straight, furthest := after(f.off, e.columns, step), after(f.off, e.columns, e.step(resolved))
		moved := q.move(f, step)
		if f.fallsShort(straight, product(furthest, furthest), whole) {
			break
		}
		if moved && product(f.off, f.off) <= enough*before {
			continue
		}
		if exact || before > hopeful*whole {
			break
		}
		exact = true
	}
	return columns
}

// next returns the equations for step n, and which directions they resolve.
func (q *valueSearch) next(f *valueFit, n int, exact bool) (e *equations, least float64) {
	sides, least := oneSide, resolvedByOneSide
	if exact {
		sides, least = bothSides, resolved
	}
	if n == 0 && f.first != nil {
		return f.first, least
	}
	columns := q.columns(f, sides)
	if columns == nil {
		return nil, 0
	}
	return q.equations(f, columns, q.everything()), least
}

// bends is the least part of a step's rest that the output's bend has on the way to an explanation.
// The part is bendsMore if the rest that a linear output would keep hardly falls: more than stays
// of the rest was there in the step before. On the way to 146 planted parameters, the part was at
// least 0.18, and the rest fell to 0.8 or less. On the way to most wrong ones the part was below
// 0.03, and more than 0.9 of the rest stayed.
//
// farFrom is the part of an error that is much.
const bends, bendsMore, stays, farFrom = 0.1, 0.5, 0.9, 0.01

// fallsShort reports whether a step shows that no values give the output. The output then lacks
// much, and just the part that it would lack if it were linear in the parameter. On the way to an
// explanation, all that the step leaves is due to the output's bend. straight is the error that a
// linear output would keep, furthest the least that it would keep if the step also took directions
// that move little, and whole the size of the error with the right values.
func (f *valueFit) fallsShort(straight []float64, furthest, whole float64) bool {
	const leads = 0.9
	left, before := product(straight, straight), f.straight
	f.straight = left
	least := bends
	if before > 0 && left > stays*before {
		least = bendsMore
	}
	bend := after(f.off, [][]float64{straight}, []float64{1})
	return product(bend, bend) < least*left && left > farFrom*whole &&
		furthest >= leads*left && // no direction that moves little leads further
		num.RMS(f.off) > noisier*compare.MeasuredMaxRMSZ
}

// move takes a step, or a part of it that comes nearer.
func (q *valueSearch) move(f *valueFit, step []float64) bool {
	const halvings = 5
	part := 1.0
	for range halvings {
		values := slices.Clone(f.now)
		num.AddScaled(part, step, values)
		if off := q.lacking(f, values); off != nil && product(off, off) < product(f.off, f.off) {
			f.now, f.off = values, off
			return true
		}
		part /= 2
	}
	return false
}

// proved reports whether each half of the wrong rows follows from the other half and the right
// rows.
func (q *valueSearch) proved(f *valueFit, columns [][]float64) bool {
	limits := compare.Limits{Z: compare.MeasuredMaxZ, RMS: compare.MeasuredMaxRMSZ}
	for half := range 2 {
		use, held := q.everything(), map[int]bool{}
		for n, row := range q.wrong {
			if held[row] = n%2 == half; held[row] {
				clear(use[row*q.width:][:q.width])
			}
		}
		e := q.equations(f, columns, use)
		if e == nil {
			return false
		}
		left := after(f.off, columns, e.step(resolved))
		for row, out := range held {
			if z := left[row*q.width:][:q.width]; out &&
				(num.RMS(z) > limits.RMS || slices.ContainsFunc(z, func(x float64) bool { return math.Abs(x) > limits.Z })) {
				return false
			}
		}
	}
	return true
}

// everything marks every element of the output.
func (q *valueSearch) everything() []bool {
	all := make([]bool, len(q.got))
	for i := range all {
		all[i] = true
	}
	return all
}

// each does something with every fit, several at a time. The stage names it to whom listens.
func (q *valueSearch) each(stage string, fits []*valueFit, do func(*valueFit)) {
	each(q.ctx, stage, len(fits), func(i int) { do(fits[i]) })
}
