package sites

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// layerAt returns the site of attention with the projections around it, nil if they have another
// form.
func layerAt(v *graph.View, values graph.Values[float64], n *graph.Node) *Site {
	var paths [3]*path
	var splits [3]*split
	for i := range paths {
		if paths[i] = pathTo(v, values, n.Operands[i]); paths[i] == nil {
			return nil
		}
		splits[i] = splitOf(paths[i].shape, paths[i].from, num.Last(paths[i].linear.Shape))
		if splits[i] == nil || splits[i].batch != splits[0].batch || splits[i].heads != splits[0].heads {
			return nil
		}
	}
	q, k := splits[0], splits[1]
	group := k.group()
	if splits[2].group() != group || !paths[2].plain() {
		return nil
	}
	l := &oracle.Layer{Heads: q.heads, KVHeads: q.heads / group}
	p := &oracle.Problem{Layer: l, Scale: 1}
	if !setQueriesAndKeys(p, paths, splits, values) {
		return nil
	}
	shape := []int{q.batch, q.heads, q.length, k.length}
	mask := maskOf(v, values, n, append(slices.Clone(n.Shape[:len(n.Shape)-1]), k.length), q.heads)
	setScores(p, values, n, mask, shape)
	splits[1], splits[2] = k.grouped(group), splits[2].grouped(group)
	s := &Site{Module: n.Module}
	for i, to := range []*oracle.Linear{&l.Query, &l.Key, &l.Value} {
		linear := paths[i].linear
		*to = linearOf(linear, values, splits[i].columns)
		s.inputs[i] = input{name: linear.Operands[0].Name, right: values[linear.Operands[0].Name], rows: splits[i]}
	}
	if !s.setOutput(v, values, n, l, q) {
		return nil
	}
	s.setProblem(p)
	return s
}

// plain reports whether nothing on a path computes.
func (p *path) plain() bool { return p.norm == nil && p.rotary == nil && p.factor == 1 }

// setQueriesAndKeys sets the norms and rotations of a layer, and the factors that stand in its
// projections for a part of the scale.
func setQueriesAndKeys(p *oracle.Problem, paths [3]*path, splits [3]*split, values graph.Values[float64]) bool {
	l := p.Layer
	for i, to := range []struct {
		norm   **oracle.Norm
		rotary **oracle.Rotary
	}{{&l.QueryNorm, &l.QueryRotary}, {&l.KeyNorm, &l.KeyRotary}} {
		norm, ok := normOf(paths[i], splits[i].width, values)
		if !ok {
			return false
		}
		rotary, length, ok := rotaryOf(paths[i], splits[i], values)
		if !ok {
			return false
		}
		*to.norm, *to.rotary = norm, rotary
		l.NormLast = l.NormLast || paths[i].normLast
		p.Scale *= length * paths[i].factor
	}
	return true
}

// normOf returns the norm on a path, nil if there is none. It returns false if the norm is not over
// the features of a head.
func normOf(p *path, width int, values graph.Values[float64]) (*oracle.Norm, bool) {
	if p.norm == nil {
		return nil, true
	}
	norm := &oracle.Norm{Epsilon: p.norm.Attributes.Eps, Weight: slices.Repeat([]float64{1}, width)}
	if w := p.norm.Operands[1]; !w.Absent {
		for i, x := range values[w.Name].Wide().Data {
			norm.Weight[i%width] = x + p.norm.Attributes.Offset
		}
	}
	return norm, num.Last(p.norm.Shape) == width
}

// linearOf returns a linear layer with some of its features; nil means all.
func linearOf(n *graph.Node, values graph.Values[float64], features []int) oracle.Linear {
	weight, width := values[n.Operands[1].Name].Wide(), num.Last(n.Shape)
	in := len(weight.Data) / width
	outStep, inStep := in, 1
	if n.Attributes.Weight == "in, out" {
		outStep, inStep = 1, width
	}
	if features == nil {
		features = num.UpTo(width)
	}
	l := oracle.Linear{In: in, Out: len(features), Weight: make([]float64, 0, in*len(features))}
	for _, o := range features {
		for i := range in {
			l.Weight = append(l.Weight, weight.Data[o*outStep+i*inStep])
		}
	}
	if bias := n.Operands[2]; !bias.Absent {
		for _, o := range features {
			l.Bias = append(l.Bias, values[bias.Name].Wide().Data[o])
		}
	}
	return l
}
