package replay

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
)

// moduleSearch looks for the value of one number of a graph. A few values are tried first. From the
// nearest of them each step goes where the output would be right if it were linear in the number.
type moduleSearch struct {
	ctx    context.Context
	module *Module
	at     *numberSites
	got    []float64

	least, most float64
}

func newModuleSearch(ctx context.Context, m *Module, at *numberSites, got []float64) *moduleSearch {
	q := &moduleSearch{ctx: ctx, module: m, at: at, got: got}
	q.least, q.most = at.number.Span(m.view, m.graph.Nodes[at.sites[0]], at.right)
	return q
}

// graph returns the graph with another value of the number.
func (q *moduleSearch) graph(value float64) *graph.Graph {
	return q.module.view.Apply(q.at.number.To(value), q.at.sites).Until(q.module.output)
}

// tried is a value of a number, the output that it gives, and the distance of the subject's output
// from it, in the noise of the case. The output is nil, and the distance infinite, if no program
// gives an output.
type tried struct {
	value  float64
	output []float64
	off    float64
}

func (q *moduleSearch) try(value float64) tried {
	return q.against(value, q.module.outputOfGraph(q.graph(value)))
}

// tryKept is try for a value that every search tries. Its output is kept if the number has the
// value everywhere.
func (q *moduleSearch) tryKept(value float64) tried {
	if q.at.where != "" {
		return q.try(value)
	}
	key := fmt.Sprint(q.module.output, q.at.number.ID, q.at.number.Title, q.at.sites, value)
	return q.against(value, q.module.keptOutput(key, func() *graph.Graph { return q.graph(value) }))
}

func (q *moduleSearch) against(value float64, output *graph.Tensor[float64]) tried {
	t := tried{value: value, off: math.Inf(1)}
	if output != nil {
		t.output = output.Data
		t.off = inNoise(q.got, t.output, q.module.Truth.Sigma)
	}
	return t
}

// find returns the number with the value that gives the output, nil if there is none, and how near
// the nearest value comes that does not.
func (q *moduleSearch) find() (*NumberMatch, float64) {
	next := math.Inf(1)
	for _, t := range q.candidates() {
		if residual := compare.Residual(q.got, t.output); residual > compare.MaxResidual {
			next = min(next, residual)
			continue
		}
		m, residual := q.confirm(t)
		if m != nil {
			return m, next
		}
		next = min(next, residual)
	}
	return nil, next
}

// leads reports whether a few other values of the number move the right output towards the
// subject's. A number that has nothing to do with the error moves it elsewhere.
func (q *moduleSearch) leads() bool {
	const telling = 0.1 // cosine: the same 323 of 324 planted numbers are found without it
	truth := q.module.Truth
	for _, v := range q.leading() {
		if t := q.tryKept(v); t.output != nil && cosine(q.got, truth, compare.Expected{Value: t.output}) > telling {
			return true
		}
	}
	return false
}

// leading returns a few values of the number, on both sides of the right one.
func (q *moduleSearch) leading() []float64 {
	var values []float64
	for _, times := range []float64{1. / 64, 1. / 4, 4, 64} {
		v := q.valueAt(q.coordinate(q.at.right) + math.Log(times))
		if q.at.number.Added {
			v = q.at.right + times - 1
		}
		values = append(values, v)
	}
	return values
}

// usual returns the usual values of the number that come near the output. A number that changes
// which experts are chosen jumps, so that values before the jump lead nowhere.
func (q *moduleSearch) usual() []tried {
	var found []tried
	for _, v := range q.at.number.Usual {
		if v == q.at.right || v < q.least || v > q.most {
			continue
		}
		if t := q.tryKept(v); t.off <= noisier*compare.MeasuredMaxRMSZ {
			found = append(found, t)
		}
	}
	return found
}

// candidates returns values that come nearest to the output, the nearest first.
func (q *moduleSearch) candidates() []tried {
	if q.at.number.Step == 0 && !q.leads() {
		return q.usual()
	}
	grid, ways := q.tryAll(q.grid())
	if q.ctx.Err() != nil {
		return nil
	}
	var order []near
	for _, t := range grid {
		order = append(order, near{t.value, t.off})
	}
	var found []tried
	for _, i := range minima(order, candidates) {
		switch {
		case math.IsInf(grid[i].off, 1):
		case q.at.number.Step > 0:
			found = append(found, grid[i])
		case q.passesBy(order[i].off, ways, i):
			found = append(found, q.try(grid[i].value))
		default:
			found = append(found, q.descend(grid[i].value))
		}
	}
	slices.SortStableFunc(found, func(a, b tried) int { return cmp.Compare(a.off, b.off) })
	return found
}

// winds is how many times further from an output on the curve of a number's outputs a point of the
// curve may be than the next point, because the curve winds.
const winds = 3

// together is how many values in order [moduleSearch.tryAll] may judge by the last of them.
const together = 4

// skips reports whether tryAll may leave values out.
func (q *moduleSearch) skips() bool { return q.at.number.Step == 0 && !q.at.number.Periodic }

// landmarks returns the values that tryAll never leaves out.
func (q *moduleSearch) landmarks(values []float64) []float64 {
	if !q.skips() {
		return values
	}
	var never []float64
	for i, v := range values {
		if i%together == 0 || i == len(values)-1 {
			never = append(never, v)
		}
	}
	return never
}

// tryAll tries values in order, and returns the ways from each one's output to the next one's. It
// leaves out values between two others that are near each other, and far from the subject's output.
func (q *moduleSearch) tryAll(values []float64) (all []tried, ways []float64) {
	skips := q.skips()
	add := func(t tried) {
		if n := len(all); n > 0 {
			ways = append(ways, q.between(all[n-1], t))
			if q.at.number.Step == 0 {
				all[n-1].output = nil // a large model has large outputs
			}
		}
		all = append(all, t)
	}
	for i := 0; i < len(values) && q.ctx.Err() == nil; i++ {
		if end := min(i+together, len(values)) - 1; skips && i > 0 && end > i {
			t := q.tryKept(values[end])
			if before := all[len(all)-1]; min(before.off, t.off) <= winds*q.between(before, t) {
				for _, v := range values[i:end] {
					add(q.tryKept(v))
				}
			}
			add(t)
			i = end
			continue
		}
		add(q.tryKept(values[i]))
	}
	return all, ways
}

// between returns the distance between the outputs of two values, in the noise of the case. It is
// infinite if no program gives one of them.
func (q *moduleSearch) between(a, b tried) float64 {
	if a.output == nil || b.output == nil {
		return math.Inf(1)
	}
	return inNoise(a.output, b.output, q.module.Truth.Sigma)
}

// passesBy reports whether the outputs of all values near value i of the grid are further from the
// subject's than an explanation allows. The outputs of the values lie on a curve. An output on the
// curve between two neighbours is hardly further from them than they are from each other, unless
// the curve winds.
func (q *moduleSearch) passesBy(off float64, ways []float64, i int) bool {
	inside := i > 0 && i < len(ways)
	return inside && !q.at.number.Periodic && off > winds*max(ways[i-1], ways[i])
}

// grid returns the values that are tried first, in order. The right value is none of them.
func (q *moduleSearch) grid() []float64 {
	var grid []float64
	add := func(v float64) {
		if v != q.at.right && q.least <= v && v <= q.most {
			grid = append(grid, v)
		}
	}
	switch n := q.at.number; {
	case n.Step > 0:
		for v := q.least; v <= q.most; v += float64(n.Step) {
			add(v)
		}
	case n.Added:
		const parts = 24
		for i := range parts + 1 {
			add(q.least + (q.most-q.least)*float64(i)/parts)
		}
	default:
		step := 2 * math.Ln2
		if n.Periodic {
			step = math.Log(1.15)
		}
		right := math.Log(q.at.right)
		for x := math.Ceil((math.Log(q.least) - right) / step); right+x*step <= math.Log(q.most); x++ {
			add(math.Exp(right + x*step))
		}
	}
	for _, v := range q.at.number.Usual {
		add(v)
	}
	slices.Sort(grid)
	return slices.Compact(grid)
}

// coordinate returns the logarithm of a value, or the value itself if the number is added or
// counts.
func (q *moduleSearch) coordinate(value float64) float64 {
	if q.isItsCoordinate() {
		return value
	}
	return math.Log(value)
}

func (q *moduleSearch) isItsCoordinate() bool { return q.at.number.Added || q.at.number.Step > 0 }

func (q *moduleSearch) valueAt(coordinate float64) float64 {
	value := coordinate
	if !q.isItsCoordinate() {
		value = math.Exp(coordinate)
	}
	return min(max(value, q.least), q.most)
}

// descend returns the value near a given one that comes nearest to the output.
func (q *moduleSearch) descend(from float64) tried {
	const steps, first, longest, last = 30, 1e-5, 1.0, 1e-13
	// On the way to an explanation, the outputs lead there, or a step comes much nearer.
	const leading, nearer = 0.3, 0.98
	x, best := q.coordinate(from), q.try(from)
	beside := x + first
	other := q.try(q.valueAt(beside))
	before := math.Inf(1)
	for range steps {
		if q.ctx.Err() != nil || other.output == nil {
			return best
		}
		part, cosine := q.step(best, other)
		if cosine < leading && best.off > nearer*before {
			return best // the outputs of the values pass by
		}
		before = best.off
		step := part * (beside - x)
		if step = min(max(step, -longest), longest); math.IsNaN(step) || math.Abs(step) < last {
			return best
		}
		t := q.try(q.valueAt(x + step))
		for range 5 { // the output bends
			if t.off < best.off || math.Abs(step) < last {
				break
			}
			step /= 3
			t = q.try(q.valueAt(x + step))
		}
		if !(t.off < best.off) {
			return best
		}
		best, other, beside, x = t, best, x, x+step
	}
	return best
}

// step returns which part of the way from one output to another leads nearest to the subject's, and
// the cosine between the ways to the two.
func (q *moduleSearch) step(from, to tried) (part, cosine float64) {
	var along, length, distance float64
	for i, s := range q.module.Truth.Sigma {
		if s > 0 {
			way, lack := (to.output[i]-from.output[i])/s, (q.got[i]-from.output[i])/s
			along += way * lack
			length += way * way
			distance += lack * lack
		}
	}
	return along / length, math.Abs(along) / math.Sqrt(length*distance)
}

// confirm holds the output against a value in its own noise. It returns nil, and the residual, if
// the output is not explained, or if nothing bounds the value.
func (q *moduleSearch) confirm(t tried) (*NumberMatch, float64) {
	g := q.graph(t.value)
	output := q.module.outputOfGraph(g)
	if output == nil {
		return nil, math.Inf(1)
	}
	own := q.module.noiseOf(g, output)
	if own.tooSmall(q.got) {
		return nil, compare.Residual(q.got, output.Data)
	}
	want, err := own.expected()
	if err != nil {
		return nil, math.Inf(1)
	}
	c := compare.Outputs(want.Shape, q.got, want)
	if !c.Explained() {
		return nil, c.Rel
	}
	m := &NumberMatch{
		Number: q.at.number.Number, Value: t.value, Right: q.at.right, Where: q.at.where,
		Residual: c.Rel, MaxZ: c.MaxZ,
	}
	if alike := q.at.number.Alike; alike != nil {
		m.Alike = alike(q.module.view, q.module.graph.Nodes[q.at.sites[0]])
	}
	var ok bool
	if m.Least, ok = q.bound(want, t.value, -1); !ok {
		return nil, c.Rel
	}
	if m.Most, ok = q.bound(want, t.value, 1); !ok {
		return nil, c.Rel
	}
	if q.at.number.Step == 0 {
		m.Value = roundest(q.at.number.Usual, *m)
	}
	return m, c.Rel
}

// bound returns the last value, downwards or upwards, that still gives the output, in the noise of
// a value that does: see [moduleSearch.last].
func (q *moduleSearch) bound(want compare.Expected, value, direction float64) (last float64, ok bool) {
	return q.last(value, direction, func(v float64) bool {
		t := q.try(v)
		return t.output != nil && compare.Outputs(want.Shape, q.got, compare.Expected{
			Shape: want.Shape, Value: t.output, Sigma: want.Sigma, Measured: true,
		}).Explained()
	})
}

// last returns the last value, downwards or upwards, that explains the output. It reports false if
// the right value, or the end of the number's range, explains the output as well.
func (q *moduleSearch) last(
	value, direction float64, explains func(value float64) bool,
) (last float64, ok bool) {
	if value == q.at.right {
		return value, false
	}
	if step := float64(q.at.number.Step); step > 0 {
		for last = value; ; last += direction * step {
			next := last + direction*step
			if next == q.at.right || next < q.least || next > q.most || !explains(next) {
				return last, true
			}
		}
	}
	end := q.most
	if direction < 0 {
		end = q.least
	}
	if q.at.number.Vanishes && direction < 0 && explains(0) {
		return 0, true
	}
	if (q.at.right-value)*direction > 0 && (end-q.at.right)*direction > 0 {
		end = q.at.right
	}
	if explains(end) {
		return end, false
	}
	return q.boundary(value, end, explains), true
}

// boundary returns the last value on the way to an end that gives the output.
func (q *moduleSearch) boundary(value, end float64, explains func(float64) bool) float64 {
	const first, halvings = 1e-9, 10
	from, to := q.coordinate(value), q.coordinate(end)
	at := func(part float64) float64 { return q.valueAt(from + part*(to-from)) }
	in, out := 0.0, first
	for out < 1 && explains(at(out)) {
		in, out = out, 8*out
	}
	out = min(out, 1)
	for range halvings {
		if middle := (in + out) / 2; explains(at(middle)) {
			in = middle
		} else {
			out = middle
		}
	}
	return at(in)
}
