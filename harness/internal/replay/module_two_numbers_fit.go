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
	at     [2]float64 // the coordinates
	output []float64  // nil if no program gives one
	off    float64    // infinite without an output
}

// graph returns the graph with other values of two numbers, nil if the first leaves the second no
// place.
func (n twoNumbers) graph(x, y float64) *graph.Graph {
	m := n.a.module
	if both := edits.Both(n.a.at.number, n.b.at.number, x, y); both != nil {
		if !slices.Equal(n.a.at.sites, n.b.at.sites) {
			return nil
		}
		return m.view.Apply(both, n.a.at.sites).Until(m.output)
	}
	once := m.view.Apply(n.a.at.number.To(x), n.a.at.sites)
	view, places := graph.NewView(once, m.values), []int(nil)
	for i, node := range once.Nodes {
		here := func(site int) bool { return m.graph.Nodes[site].Name == node.Name }
		if slices.ContainsFunc(n.b.at.sites, here) {
			if right, ok := n.b.at.number.At(view, node); !ok || right != n.b.at.right {
				return nil
			}
			places = append(places, i)
		}
	}
	if len(places) != len(n.b.at.sites) {
		return nil
	}
	return view.Apply(n.b.at.number.To(y), places).Until(m.output)
}

func (n twoNumbers) values(at [2]float64) (x, y float64) {
	return n.a.valueAt(at[0]), n.b.valueAt(at[1])
}

func (n twoNumbers) try(at [2]float64) tried2 {
	t := tried2{at: at, off: math.Inf(1)}
	g := n.graph(n.values(at))
	if g == nil {
		return t
	}
	if output := n.a.module.outputOfGraph(g); output != nil {
		t.output = output.Data
		t.off = inNoise(n.a.got, t.output, n.a.module.Truth.Sigma)
	}
	return t
}

// descend returns the values near the given ones that come nearest to the output, by the method of
// Gauss and Newton. Only the free numbers move. descend ends where the steps come hardly nearer.
func (n twoNumbers) descend(from [2]float64, free [2]bool) tried2 {
	const steps, nearer, last = 20, 0.9, 1e-12
	best := n.try(from)
	for i := range steps {
		if best.output == nil || n.a.ctx.Err() != nil {
			return best
		}
		next, length := n.nearer(best, n.step(best, free))
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

// nearer makes a step, or a part of it if the output bends. It returns the length of the step.
func (n twoNumbers) nearer(from tried2, step [2]float64) (tried2, float64) {
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
	const beside, longest = 1e-5, 1.0
	var ways [2][]float64
	for k, d := range []*dial{n.a, n.b} {
		if !free[k] || d.at.number.Step > 0 {
			continue
		}
		at := from.at
		if at[k] += beside; d.valueAt(at[k]) == d.most {
			at[k] -= 2 * beside
		}
		if t := n.try(at); t.output != nil {
			ways[k] = n.a.inSigma(from.output, t.output)
			for i := range ways[k] {
				ways[k][i] /= at[k] - from.at[k]
			}
		}
	}
	step = nearest2(ways, n.a.inSigma(from.output, n.a.got))
	if far := max(math.Abs(step[0]), math.Abs(step[1])); far > longest {
		step[0], step[1] = step[0]*longest/far, step[1]*longest/far
	}
	return step
}

// inSigma returns the way from one output to another, in the noise of the case.
func (q *moduleSearch) inSigma(from, to []float64) []float64 {
	way := make([]float64, len(from))
	for i, s := range q.module.Truth.Sigma {
		if s > 0 {
			way[i] = (to[i] - from[i]) / s
		}
	}
	return way
}

// nearest2 returns the multiples of two ways that lead nearest to a third. A way may be nil.
func nearest2(ways [2][]float64, to []float64) (part [2]float64) {
	const parallel = 1e-10
	switch {
	case ways[0] == nil && ways[1] == nil:
	case ways[0] == nil:
		part[1] = product(ways[1], to) / product(ways[1], ways[1])
	case ways[1] == nil:
		part[0] = product(ways[0], to) / product(ways[0], ways[0])
	default:
		aa, bb, ab := product(ways[0], ways[0]), product(ways[1], ways[1]), product(ways[0], ways[1])
		at, bt := product(ways[0], to), product(ways[1], to)
		if det := aa*bb - ab*ab; det > parallel*aa*bb {
			part[0], part[1] = (at*bb-bt*ab)/det, (bt*aa-at*ab)/det
		}
	}
	for k := range part {
		if math.IsNaN(part[k]) || math.IsInf(part[k], 0) {
			part[k] = 0
		}
	}
	return part
}

// residual returns how far an output is from the subject's, infinite without an output.
func (n twoNumbers) residual(t tried2) float64 {
	if t.output == nil {
		return math.Inf(1)
	}
	return compare.Residual(n.a.got, t.output)
}
