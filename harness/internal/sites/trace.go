package sites

import (
	"maps"
	"slices"

	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
)

// path is the way from a linear layer to an operand of attention. On the way the features are split
// into heads, normed, rotated, scaled and repeated.
type path struct {
	linear   *graph.Node
	norm     *graph.Node // nil if there is no norm
	rotary   *graph.Node // nil if nothing is rotated
	normLast bool        // the norm stands behind the rotation
	factor   float64     // product of the numbers by which the features are multiplied

	shape []int // of the operand
	// from holds, for each element of the operand, the place of its feature in the linear layer's
	// output. turned holds its place in the rotation's output, or -1 if it is not rotated.
	from, turned []int
}

// moves lists the operators that move elements and do not compute.
var moves = []string{"reshape", "permute", "slice", "select", "cat", "expand", "repeat_interleave", "index"}

// pathTo follows a value back to the linear layer that it comes from. It returns nil if another
// operator stands in between, or if the value comes from more than one linear layer.
func pathTo(v *graph.View, values graph.Values[float64], operand graph.Operand) *path {
	p := &path{factor: 1, shape: v.Shape(operand)}
	between := map[string]bool{}
	if !p.collect(v, values, operand, between) || p.linear == nil {
		return nil
	}
	p.normLast = p.norm != nil && p.rotary != nil && v.From(p.norm.Operands[0], p.rotary.Name)
	var nodes, behind []graph.Node
	for _, n := range v.Nodes {
		if !between[n.Name] {
			continue
		}
		if !slices.Contains(moves, n.Op) {
			n = n.Pass(n.Operands[valueOperand(v, values, n)])
		}
		nodes = append(nodes, n)
		if p.rotary == nil || n.Name != p.rotary.Name {
			behind = append(behind, n)
		}
	}
	origin, count := p.linear.Name, num.Size(p.linear.Shape)
	p.from = placesAfter(nodes, values, operand.Name, map[string][]float64{origin: places(count)})
	if p.rotary != nil {
		p.turned = placesAfter(behind, values, operand.Name, map[string][]float64{
			origin: slices.Repeat([]float64{-1}, count), p.rotary.Name: places(num.Size(p.rotary.Shape)),
		})
	}
	if p.from == nil || p.rotary != nil && p.turned == nil {
		return nil
	}
	return p
}

// collect notes the nodes between the linear layer and an operand. It returns false if one of them
// is of no kind that a path has.
func (p *path) collect(
	v *graph.View, values graph.Values[float64], operand graph.Operand, between map[string]bool,
) bool {
	n := v.Maker(operand)
	switch {
	case n == nil:
		return false
	case between[n.Name]:
		return true
	case n.Op == "linear":
		same := p.linear == nil || p.linear == n
		p.linear = n
		return same
	}
	between[n.Name] = true
	inputs := n.Operands[:1]
	switch {
	case n.Op == "cat":
		inputs = n.Operands
	case slices.Contains(moves, n.Op):
	case n.Op == "rms_norm" && (p.norm == nil || p.norm == n):
		p.norm = n
	case n.Op == "rotary" && (p.rotary == nil || p.rotary == n):
		p.rotary = n
	case n.Op == "mul" || n.Op == "div":
		at := valueOperand(v, values, *n)
		factor, ok := number(v, values, n.Operands[1-at])
		if !ok || n.Op == "div" && at == 1 {
			return false
		}
		if n.Op == "div" {
			factor = 1 / factor
		}
		p.factor *= factor
		inputs = n.Operands[at : at+1]
	default:
		return false
	}
	for _, o := range inputs {
		if !p.collect(v, values, o, between) {
			return false
		}
	}
	return true
}

// valueOperand returns the index of the operand that is not a factor.
func valueOperand(v *graph.View, values graph.Values[float64], n graph.Node) int {
	if n.Op == "mul" {
		if _, ok := number(v, values, n.Operands[0]); ok {
			return 1
		}
	}
	return 0
}

// number returns the value of an operand that is a number or a constant of one element.
func number(v *graph.View, values graph.Values[float64], o graph.Operand) (float64, bool) {
	if o.Name == "" {
		return o.Number, !o.Absent
	}
	if slices.Contains(v.Constants, o.Name) && len(values[o.Name].Data) == 1 {
		return values[o.Name].Data[0], true
	}
	return 0, false
}

// placesAfter moves places through nodes, and returns them as a value has them. start holds the
// places in the values where they begin. It returns nil if the nodes cannot be computed.
func placesAfter(
	nodes []graph.Node, values graph.Values[float64], name string, start map[string][]float64,
) []int {
	given := make(graph.Values[float64], len(values))
	maps.Copy(given, values)
	for name, data := range start {
		given[name] = &graph.Tensor[float64]{Shape: values[name].Shape, Data: data}
	}
	moved, err := graph.Run(&graph.Graph{Nodes: nodes, Output: name}, given)
	if err != nil {
		return nil
	}
	arrived := make([]int, len(moved[name].Data))
	for i, place := range moved[name].Data {
		arrived[i] = int(place)
	}
	return arrived
}

// places returns 0, 1, 2, ...
func places(n int) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = float64(i)
	}
	return all
}
