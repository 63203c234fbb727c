package graph

// Table returns a new node, like [Node.Before], whose value is a tensor.
func (n Node) Table(part int, value *Tensor[float64]) Node {
	t := n.Before(part, "table", value.Shape)
	t.table = value
	return t
}

// Constant returns the value of an operand that is a constant of the graph, nil for any other.
func (v *View) Constant(o Operand) *Tensor[float64] { return v.constants[o.Name] }

// converted returns a tensor in another arithmetic.
func converted[To, From Float](t *Tensor[From]) *Tensor[To] {
	if same, ok := any(t).(*Tensor[To]); ok {
		return same
	}
	other := &Tensor[To]{Shape: t.Shape, Data: make([]To, len(t.Data)), Bool: t.Bool}
	for i, x := range t.Data {
		other.Data[i] = To(x)
	}
	return other
}
