// Package sites finds attention in the graph of a module. A site is one place of attention, as a
// problem of package oracle that gives the same value. All known mistakes of attention can be made
// there, each as an edit of the graph.
package sites

import (
	"context"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/parallel"
)

// Site is one place of attention in a graph.
type Site struct {
	Module string // path of the module that computes attention
	Output string // name of the node whose value the problem gives

	problem *oracle.Problem // with the inputs that the right graph gives it; cached if it is small
	inputs  [3]input        // of queries, keys and values
	rows    []int           // row of the output for each token; nil if their orders agree
	// unprojected reports whether the site ends before an output projection. The problem has the
	// identity in its place.
	unprojected bool
	// first is the first site of the graph to which the same mistakes apply; the site itself if no
	// earlier one is alike.
	first *Site
}

// input is a value from which a problem is computed.
type input struct {
	name  string
	right *graph.Tensor[float64] // its value in the right graph
	rows  *split                 // how its rows become tokens; nil if it has the problem's shape
}

// Find returns the sites of a graph with the given values. A site has the projections around
// attention where these are linear layers, and heads are split, normed, rotated, repeated and
// merged in between. Otherwise it has attention alone. Find leaves out a place whose value no
// problem gives.
func Find(v *graph.View, values graph.Values[float64]) []*Site {
	var places []*graph.Node
	for i := range v.Nodes {
		if v.Nodes[i].Op == "attention" {
			places = append(places, &v.Nodes[i])
		}
	}
	found := make([]*Site, len(places))
	parallel.Each(len(places), func(i int) { found[i] = siteAt(v, values, places[i]) })
	found = slices.DeleteFunc(found, func(s *Site) bool { return s == nil })
	setAlike(found)
	return found
}

// siteAt returns the site of a node of attention, nil if no problem gives its value.
func siteAt(v *graph.View, values graph.Values[float64], n *graph.Node) *Site {
	for _, siteOf := range []func(*graph.View, graph.Values[float64], *graph.Node) *Site{layerAt, functionAt} {
		if s := siteOf(v, values, n); s != nil && s.settles(values[s.Output].Data) {
			return s
		}
	}
	return nil
}

// functionAt returns the site of attention without its projections.
func functionAt(v *graph.View, values graph.Values[float64], n *graph.Node) *Site {
	s := &Site{Module: n.Module, Output: n.Name}
	for i := range s.inputs {
		name := n.Operands[i].Name
		s.inputs[i] = input{name: name, right: values[name]}
	}
	q, k := s.inputs[0].right.Shape, s.inputs[1].right.Shape
	rank := len(q)
	if rank < 3 {
		return nil
	}
	shape := append(append([]int{}, q[:rank-1]...), k[rank-2])
	p := &oracle.Problem{}
	setScores(p, values, n, maskOf(v, values, n, shape, q[rank-3]), shape)
	s.setProblem(p)
	return s
}

// setProblem sets the problem, with the inputs of the right graph. The products of large weights
// would fill the memory, so a large problem is not cached.
func (s *Site) setProblem(p *oracle.Problem) {
	const large = 1 << 20 // parameters
	var right [3]*graph.Tensor[float64]
	for i, in := range s.inputs {
		right[i] = in.right
	}
	s.problem = s.withInputs(p, right[:])
	parameters := 0
	for _, values := range p.Parameters() {
		parameters += len(*values)
	}
	if parameters < large {
		s.problem = s.problem.Cached()
	}
}

// settles reports whether the problem gives the value that the site has in the graph, if need be
// with the mean of all values for queries that see no key. Queries of padded tokens on the left see
// none.
func (s *Site) settles(want []float64) bool {
	if s.reproduces(want) {
		return true
	}
	if !s.problem.HasEmptyRow() {
		return false
	}
	p := s.problem.Uncached()
	p.EmptyMean = true
	s.setProblem(p)
	return s.reproduces(want)
}

// given returns the problem with the values that an edited graph gives it.
func (s *Site) given(values []*graph.Tensor[float64]) *oracle.Problem {
	for i, in := range s.inputs {
		if values[i] != in.right {
			return s.withInputs(s.problem.Uncached(), values)
		}
	}
	return s.problem
}

// withInputs returns a problem after it was given other inputs. Equal inputs share their memory.
func (s *Site) withInputs(p *oracle.Problem, values []*graph.Tensor[float64]) *oracle.Problem {
	to := []*oracle.Array{&p.Query, &p.Key, &p.Value}
	for i, in := range s.inputs {
		switch {
		case in.rows == nil:
			*to[i] = oracle.Array{Shape: values[i].Shape, Value: values[i].Data}
		case i > 0 && in.name == s.inputs[i-1].name && in.rows.sameRows(s.inputs[i-1].rows):
			*to[i] = *to[i-1]
		default:
			*to[i] = in.rows.gathered(values[i])
		}
	}
	return p
}

// reproduces reports whether the problem gives the value that the site has in the graph.
func (s *Site) reproduces(want []float64) bool {
	const reproduction = 1e-12 // of the largest value
	f, err := s.problem.Rows(context.Background(), nil, oracle.ValuesAlone)
	if err != nil || len(f.Value) != len(want) {
		return false
	}
	worst, largest := 0.0, 0.0
	for i, x := range ordered(s.rows, f.Value) {
		worst, largest = math.Max(worst, math.Abs(x-want[i])), math.Max(largest, math.Abs(want[i]))
	}
	return worst <= reproduction*largest
}

// ordered brings a result of the problem into the order of the site's output, whose row for each
// token is in rows. nil rows leave it as it is.
func ordered[T any](rows []int, result []T) []T {
	if rows == nil {
		return result
	}
	width, out := len(result)/len(rows), make([]T, len(result))
	for token, row := range rows {
		copy(out[row*width:][:width], result[token*width:])
	}
	return out
}
