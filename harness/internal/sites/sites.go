// Package sites finds attention in the graph of a module. A site is one place where attention is
// computed, as a problem of package oracle that gives the same value. All known mistakes of
// attention can be made there, each as an edit of the graph.
package sites

import (
	"context"
	"slices"

	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Site is one place of attention in a graph.
type Site struct {
	Module string // path of the module that computes attention

	problem *oracle.Problem // cached, with the inputs that the right graph gives it
	inputs  [3]input        // of queries, keys and values
	output  string          // name of the node whose value the problem gives
	// rows holds the row of the output for each token of the problem, nil if they have one order.
	rows []int
	// unprojected reports whether the site ends before an output projection. The problem's is then
	// the identity.
	unprojected bool
}

// input is a value that a problem is computed from.
type input struct {
	name  string
	right *graph.Tensor[float64]
	split *split // how its rows become tokens; nil if the value has the problem's order
}

func (in input) array(t *graph.Tensor[float64]) oracle.Array {
	if in.split == nil {
		return oracle.Array{Shape: t.Shape, Value: t.Data}
	}
	return gathered(t, in.split)
}

// Find returns the sites of a graph, whose values are given. A site has the projections around
// attention where they are linear layers with nothing else in between, and attention alone where
// they are not. A place whose value no problem gives is left out.
func Find(v *graph.View, values graph.Values[float64]) []*Site {
	var found []*Site
	for i := range v.Nodes {
		n := &v.Nodes[i]
		if n.Op != "attention" {
			continue
		}
		if s := layer(v, values, n); s != nil && s.reproduces(values) {
			found = append(found, s)
		} else if s := alone(v, values, n); s != nil && s.reproduces(values) {
			found = append(found, s)
		}
	}
	return found
}

// layer returns the site of attention between its projections; nil if it has another form.
func layer(v *graph.View, values graph.Values[float64], n *graph.Node) *Site {
	s := &Site{Module: n.Module}
	p := &oracle.Problem{Layer: &oracle.Layer{}}
	var splits [3]*split
	var paths [3]*path
	factor := n.Attributes.Scale
	factor = 1
	for i := range 3 {
		paths[i] = pathTo(v, values, n.Operands[i])
		if paths[i] == nil {
			return nil
		}
		weight := values[paths[i].linear.Operands[1].Name]
		if len(weight.Shape) != 2 {
			return nil
		}
		columns := num.Last(paths[i].linear.Shape)
		if splits[i] = splitOf(paths[i].shape, paths[i].from, columns); splits[i] == nil {
			return nil
		}
	}
	q, k, val := splits[0], splits[1], splits[2]
	if q.batch != k.batch || q.batch != val.batch || q.heads != k.heads || q.heads != val.heads {
		return nil
	}
	heads := q.heads
	group := k.group()
	if val.group() != group || paths[2].rotary != nil || paths[2].norm != nil || paths[2].factor != 1 {
		return nil
	}
	splits[1], splits[2] = k.grouped(group), val.grouped(group)
	l := p.Layer
	l.Heads, l.KVHeads = heads, heads/group
	for i, linear := range []*oracle.Linear{&l.Query, &l.Key, &l.Value} {
		*linear = linearOf(paths[i].linear, values, splits[i].columns)
		in := paths[i].linear.Operands[0]
		if in.Name == "" {
			return nil
		}
		s.inputs[i] = input{in.Name, values[in.Name], splits[i]}
	}
	for i, to := range []struct {
		norm   **oracle.Norm
		rotary **oracle.Rotary
	}{{&l.QueryNorm, &l.QueryRotary}, {&l.KeyNorm, &l.KeyRotary}} {
		norm, ok := normOf(paths[i], splits[i], values)
		if !ok {
			return nil
		}
		rotary, longer, ok := rotaryOf(paths[i], q2(splits[i], []*split{q, k}[i]), values)
		if !ok {
			return nil
		}
		*to.norm, *to.rotary = norm, rotary
		l.NormLast = l.NormLast || paths[i].normLast
		factor *= longer * paths[i].factor
	}
	shape := append(slices.Clone(paths[0].shape[:len(paths[0].shape)-1]), k.length)
	setScores(p, n, maskOf(v, values, n, shape, q.batch, heads), factor)
	if !s.setOutput(v, values, n, p, q, val) {
		return nil
	}
	s.problem = p
	s.fill(values)
	return s
}

func q2(_, whole *split) *split { return whole }

// setOutput follows the context to the output projection.
func (s *Site) setOutput(
	v *graph.View, values graph.Values[float64], n *graph.Node, p *oracle.Problem, q, val *split,
) bool {
	last, nodes := n, []graph.Node{}
	for {
		users := v.Users(last.Name)
		if len(users) != 1 || !slices.Contains(moves, users[0].Op) || len(users[0].Operands) != 1 || last.Name == v.Output {
			break
		}
		last = users[0]
		nodes = append(nodes, *last)
	}
	context := placesAfter(v.Graph, nodes, values, graph.Value(last.Name), map[string][]float64{
		n.Name: places(num.Size(n.Shape)),
	})
	if context == nil {
		return false
	}
	// place of a context element (b, h, t, e) as (b, t) and (h, e)
	width, features := num.Last(last.Shape), q.heads*val.width
	if width != features {
		return false
	}
	tokens, columns := make([]int, len(context)/width), make([]int, width)
	for i, from := range context {
		e, t, h, b := from%val.width, from/val.width%q.length, from/val.width/q.length%q.heads, from/val.width/q.length/q.heads
		token, column := b*q.length+t, h*val.width+e
		row, at := i/width, i%width
		if at == 0 {
			tokens[row] = token
		}
		if row == 0 {
			columns[at] = column
		}
		if tokens[row] != token || columns[at] != column {
			return false
		}
	}
	// columns[at] = head feature at that place; the inverse is the order of inputs.
	inverse := make([]int, width)
	for at, column := range columns {
		inverse[column] = at
	}
	s.rows = make([]int, len(tokens))
	for row, token := range tokens {
		s.rows[token] = row
	}
	users := v.Users(last.Name)
	if len(users) == 1 && users[0].Op == "linear" && users[0].Operands[0].Name == last.Name && last.Name != v.Output {
		p.Layer.Output = withInputOrder(linearOf(users[0], values, nil), inverse)
		s.output = users[0].Name
		return true
	}
	identity := oracle.Linear{In: width, Out: width, Weight: make([]float64, width*width)}
	for at, column := range columns {
		identity.Weight[at*width+column] = 1
	}
	p.Layer.Output = identity
	s.output, s.unprojected = last.Name, true
	return true
}

// alone returns the site of attention without its projections; nil if it has another form.
func alone(v *graph.View, values graph.Values[float64], n *graph.Node) *Site {
	s := &Site{Module: n.Module, output: n.Name}
	for i := range 3 {
		o := n.Operands[i]
		if o.Name == "" {
			return nil
		}
		s.inputs[i] = input{name: o.Name, right: values[o.Name]}
	}
	q, k := values[n.Operands[0].Name].Shape, values[n.Operands[1].Name].Shape
	rank := len(q)
	if rank < 3 {
		return nil
	}
	batch, heads := num.Size(q[:rank-3]), q[rank-3]
	shape := append(slices.Clone(q[:rank-1]), k[rank-2])
	p := &oracle.Problem{}
	setScores(p, n, maskOf(v, values, n, shape, batch, heads), 1)
	s.problem = p
	s.fill(values)
	return s
}

// fill gives the problem the inputs of the right graph.
func (s *Site) fill(values graph.Values[float64]) {
	for i, to := range []*oracle.Array{&s.problem.Query, &s.problem.Key, &s.problem.Value} {
		if i > 0 && s.inputs[i].name == s.inputs[i-1].name && s.inputs[i].split == nil {
			*to = *[]*oracle.Array{&s.problem.Query, &s.problem.Key, &s.problem.Value}[i-1]
			continue
		}
		*to = s.inputs[i].array(values[s.inputs[i].name])
	}
	s.problem = s.problem.Cached()
}

// reproduces reports whether the problem gives the value that the site has in the graph.
func (s *Site) reproduces(values graph.Values[float64]) bool {
	f, err := s.problem.Rows(context.Background(), nil, oracle.ValuesAlone)
	if err != nil {
		return false
	}
	want := values[s.output]
	return len(f.Value) == len(want.Data) && near(s.ordered(f.Value), want.Data)
}

// ordered brings a result of the problem into the order of the site's output.
func (s *Site) ordered(result []float64) []float64 {
	if s.rows == nil {
		return result
	}
	width := len(result) / len(s.rows)
	out := make([]float64, len(result))
	for token, row := range s.rows {
		copy(out[row*width:][:width], result[token*width:])
	}
	return out
}
