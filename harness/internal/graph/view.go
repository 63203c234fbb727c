package graph

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// View is a graph that can be asked about its surroundings. An edit looks at a View and returns
// other nodes.
type View struct {
	*Graph
	shapes map[string][]int
	nodes  map[string]*Node
	users  map[string][]*Node
	params map[string]bool

	constants map[string]*Tensor[float64]
}

// NewView returns the view of a graph whose values have these shapes.
func NewView[T Float](g *Graph, values Values[T]) *View {
	v := &View{
		Graph: g, shapes: map[string][]int{}, nodes: map[string]*Node{},
		users: map[string][]*Node{}, params: map[string]bool{}, constants: map[string]*Tensor[float64]{},
	}
	for name, t := range values {
		v.shapes[name] = t.Shape
	}
	for _, key := range g.Parameters {
		v.params[key] = true
	}
	for _, name := range g.Constants {
		if t := values[name]; t != nil {
			v.constants[name] = converted[float64](t)
		}
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		v.nodes[n.Name] = n
		for _, o := range n.Operands {
			if o.Name != "" && !slices.Contains(v.users[o.Name], n) {
				v.users[o.Name] = append(v.users[o.Name], n)
			}
		}
	}
	return v
}

// Shape returns the shape of a value, nil for a number.
func (v *View) Shape(o Operand) []int { return v.shapes[o.Name] }

// Maker returns the node that computes an operand, nil if none does.
func (v *View) Maker(o Operand) *Node { return v.nodes[o.Name] }

// Made reports whether a node of this operator computes an operand.
func (v *View) Made(o Operand, op string) bool {
	n := v.nodes[o.Name]
	return n != nil && n.Op == op
}

// Users returns the nodes that take a value.
func (v *View) Users(name string) []*Node { return v.users[name] }

// Parameter reports whether an operand is a parameter.
func (v *View) Parameter(o Operand) bool { return v.params[o.Name] }

// Input returns the role of the input that an operand is, "" if it is none.
func (v *View) Input(o Operand) string { return v.Inputs[o.Name] }

// From reports whether a value is computed from another.
func (v *View) From(o Operand, source string) bool {
	return len(v.Between(o, source)) > 0 || o.Name == source
}

// Between returns the nodes through which a value is computed from another, its own node among
// them.
func (v *View) Between(o Operand, source string) []*Node {
	reaches := map[string]bool{source: true}
	var between []*Node
	var ask func(name string) bool
	ask = func(name string) bool {
		if reached, known := reaches[name]; known || v.nodes[name] == nil {
			return reached
		}
		reaches[name] = false
		reached := false
		for _, o := range v.nodes[name].Operands {
			reached = ask(o.Name) || reached
		}
		if reaches[name] = reached; reached {
			between = append(between, v.nodes[name])
		}
		return reached
	}
	ask(o.Name)
	return between
}

// Edit returns the nodes that replace one node; nil if the edit does not apply there. The last of
// them has the name and the shape of the node.
type Edit func(v *View, n Node) []Node

// Sites lists the nodes, by their places, to which an edit applies.
func (v *View) Sites(edit Edit) []int {
	var sites []int
	for i, n := range v.Nodes {
		if edit(v, n) != nil {
			sites = append(sites, i)
		}
	}
	return sites
}

// Apply returns the graph with an edit at some sites.
func (v *View) Apply(edit Edit, sites []int) *Graph {
	edited := *v.Graph
	edited.base, edited.changed = v.Graph, map[string]bool{}
	edited.Nodes = make([]Node, 0, len(v.Nodes)+2*len(sites))
	from := 0
	for _, site := range slices.Compact(slices.Sorted(slices.Values(sites))) {
		edited.Nodes = append(edited.Nodes, v.Nodes[from:site]...)
		for _, n := range edit(v, v.Nodes[site]) {
			edited.changed[n.Name] = true
			edited.Nodes = append(edited.Nodes, n)
		}
		from = site + 1
	}
	edited.Nodes = append(edited.Nodes, v.Nodes[from:]...)
	return &edited
}

// With returns a copy of a node with other operands.
func (n Node) With(operands ...Operand) Node {
	n.Operands = operands
	return n
}

// Put returns a copy of a node with one operand replaced.
func (n Node) Put(i int, o Operand) Node {
	n.Operands = slices.Clone(n.Operands)
	n.Operands[i] = o
	return n
}

// Become returns a copy of a node with another operator and operands, and no attributes.
func (n Node) Become(op string, operands ...Operand) Node {
	n.Op, n.Operands, n.Attributes = op, operands, Attributes{}
	return n
}

// Pass returns a node that gives an operand of the same shape unchanged.
func (n Node) Pass(o Operand) Node {
	p := n.Become("reshape", o)
	p.Attributes.Shape = n.Shape
	return p
}

// Set returns a copy of a node with changed attributes.
func (n Node) Set(change func(a *Attributes)) Node {
	change(&n.Attributes)
	return n
}

// Before returns a new node, in the same module, that an edit puts before a node. Part tells the
// new nodes of one edit apart.
func (n Node) Before(part int, op string, shape []int, operands ...Operand) Node {
	b := n.Become(op, operands...)
	b.Name, b.Shape = fmt.Sprintf("%s/%d", n.Name, part), slices.Clone(shape)
	return b
}

// LayerPath returns the part of a path that ends with the number of its layer: "model.layers.3" of
// "model.layers.3.mlp". It is empty outside of layers.
func LayerPath(path string) string {
	_, number, rest := Layer(path)
	if number < 0 {
		return ""
	}
	return strings.TrimSuffix(strings.TrimSuffix(path, rest), ".")
}

// Layer splits a path at its first number: "model.layers.3.mlp" is "model.layers", 3 and "mlp". It
// returns -1 if the path has no number.
func Layer(path string) (prefix string, number int, rest string) {
	for start := 0; start <= len(path); {
		end := start + len(path[start:])
		if dot := strings.IndexByte(path[start:], '.'); dot >= 0 {
			end = start + dot
		}
		if n, ok := layerNumber(path[start:end]); ok {
			return path[:max(start-1, 0)], n, path[min(end+1, len(path)):]
		}
		start = end + 1
	}
	return path, -1, ""
}

// layerNumber reads a number as strconv.Itoa writes it.
func layerNumber(part string) (n int, ok bool) {
	if part == "" || part[0] < '0' || part[0] > '9' {
		return 0, false // most parts are words
	}
	n, err := strconv.Atoi(part)
	return n, err == nil && strconv.Itoa(n) == part
}
