package graph

// Table returns a new node, like [Node.Before], whose value is a tensor.
func (n Node) Table(part int, value *Tensor[float64]) Node {
	t := n.Before(part, "table", value.Shape)
	t.Computed = func([]*Tensor[float64], Rounding) (*Tensor[float64], []float64, error) { return value, nil, nil }
	return t
}

// Constant returns the value of an operand that is a constant of the graph, nil for any other.
func (v *View) Constant(o Operand) *Tensor[float64] { return v.constants[o.Name] }
