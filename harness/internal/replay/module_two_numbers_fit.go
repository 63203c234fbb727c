package replay

import (
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/graph"
)

// tried2 is values of two numbers, the output that they give, and its distance from the subject's
// in the noise of the case.
type tried2 struct {
	at     [2]float64 // the coordinates of the values
	output []float64  // nil if no program gives one
	off    float64    // infinite without an output
}

func (n twoNumbers) module() *Module { return n.dials[0].module }

// graph returns the graph with other values of both numbers, nil if the first number leaves the
// second one no place.
func (n twoNumbers) graph(values [2]float64) *graph.Graph {
	m, a, b := n.module(), n.dials[0].at, n.dials[1].at
	if both := edits.Both(a.number, b.number, values[0], values[1]); both != nil {
		if !slices.Equal(a.sites, b.sites) {
			return nil
		}
		return m.view.Apply(both, a.sites).Until(m.output)
	}
	once := m.view.Apply(a.number.To(values[0]), a.sites)
	view, named := graph.NewView(once, m.values), namesAt(m.graph, b.sites)
	var places []int
	for i, node := range once.Nodes {
		if slices.Contains(named, node.Name) {
			if right, ok := b.number.At(view, node); !ok || right != b.right {
				return nil
			}
			places = append(places, i)
		}
	}
	if len(places) != len(b.sites) {
		return nil
	}
	return view.Apply(b.number.To(values[1]), places).Until(m.output)
}

func (n twoNumbers) values(coordinates [2]float64) [2]float64 {
	return [2]float64{n.dials[0].valueAt(coordinates[0]), n.dials[1].valueAt(coordinates[1])}
}

func (n twoNumbers) coordinates(values [2]float64) [2]float64 {
	return [2]float64{n.dials[0].coordinate(values[0]), n.dials[1].coordinate(values[1])}
}

func (n twoNumbers) try(at [2]float64) tried2 {
	t := tried2{at: at, off: math.Inf(1)}
	g := n.graph(n.values(at))
	if g == nil {
		return t
	}
	if output := n.module().outputOfGraph(g); output != nil {
		t.output = output.Data
		t.off = inNoise(n.dials[0].got, t.output, n.module().Truth.Sigma)
	}
	return t
}

// residual returns how far the output of some values is from the subject's.
func (n twoNumbers) residual(t tried2) float64 {
	if t.output == nil {
		return math.Inf(1)
	}
	return compare.Residual(n.dials[0].got, t.output)
}

// descend returns the values near the given ones that come nearest to the output, by the method of
// Gauss and Newton. Only the free numbers move. descend ends where the steps come hardly nearer.
func (n twoNumbers) descend(from [2]float64, free [2]bool) tried2 {
	const steps, nearer, last = 20, 0.9, 1e-12
	best := n.try(from)
	for i := range steps {
		if best.output == nil || n.dials[0].ctx.Err() != nil {
			return best
		}
		next, length := n.along(best, n.step(best, free))
		if !(next.off < best.off) {
			return best
		}
		before := best.off
		best = next
		if length < last || i > 1 && best.off > nearer*before {
			return best
		}
	}
	return best
}

// along makes a step, or a part of it if the output bends, and returns the length of the step.
func (n twoNumbers) along(from tried2, step [2]float64) (tried2, float64) {
	const parts = 4
	var t tried2
	for range parts {
		t = n.try([2]float64{from.at[0] + step[0], from.at[1] + step[1]})
		if t.off < from.off {
			break
		}
		step[0], step[1] = step[0]/3, step[1]/3
	}
	return t, math.Abs(step[0]) + math.Abs(step[1])
}

// step returns the step to where the output would be nearest if it were linear in the free numbers.
// A number that counts makes no step.
func (n twoNumbers) step(from tried2, free [2]bool) (step [2]float64) {
	const beside = 1e-5
	var ways [2][]float64
	for k, d := range n.dials {
		if !free[k] || d.at.number.Step > 0 {
			continue
		}
		at := from.at
		if at[k] += beside; d.valueAt(at[k]) == d.most {
			at[k] -= 2 * beside
		}
		if t := n.try(at); t.output != nil {
			ways[k] = n.way(from.output, t.output, at[k]-from.at[k])
		}
	}
	step = nearest2(ways, n.way(from.output, n.dials[0].got, 1))
	for k, d := range n.dials {
		step[k] = d.bent(step[k])
	}
	return step
}

// bent shortens a long step of the coordinate. An output that is linear in a number's value itself
// bends with the logarithm. A small epsilon has such outputs.
func (d *dial) bent(step float64) float64 {
	const longest, least = 1.0, -0.95
	switch {
	case d.at.number.Added:
		return min(max(step, -longest), longest)
	case step > 0:
		return math.Log1p(step)
	case d.at.number.Vanishes:
		return math.Log1p(max(step, least))
	}
	return max(step, -longest)
}

// way returns the way from one output to another, in the noise of the case, for each unit of a
// step.
func (n twoNumbers) way(from, to []float64, step float64) []float64 {
	way := make([]float64, len(from))
	for i, s := range n.module().Truth.Sigma {
		if s > 0 {
			way[i] = (to[i] - from[i]) / s / step
		}
	}
	return way
}

// nearest2 returns the multiples of two ways that lead nearest to a third one. A way may be nil.
func nearest2(ways [2][]float64, to []float64) (part [2]float64) {
	const parallel = 1e-10
	a, b := ways[0], ways[1]
	switch {
	case a != nil && b != nil:
		aa, bb, ab, at, bt := product(a, a), product(b, b), product(a, b), product(a, to), product(b, to)
		if det := aa*bb - ab*ab; det > parallel*aa*bb {
			return [2]float64{(at*bb - bt*ab) / det, (bt*aa - at*ab) / det}
		}
	case a != nil && product(a, a) > 0:
		part[0] = product(a, to) / product(a, a)
	case b != nil && product(b, b) > 0:
		part[1] = product(b, to) / product(b, b)
	}
	return part
}
