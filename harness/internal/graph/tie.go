package graph

import (
	"math"
	"slices"
)

// Choices returns the values among which nodes choose the largest: the scores of experts.
func (g *Graph) Choices() []string {
	var names []string
	for _, n := range g.Nodes {
		if (n.Op == "topk" || n.Op == "topk_indices") && !slices.Contains(names, n.Operands[0].Name) {
			names = append(names, n.Operands[0].Name)
		}
	}
	return names
}

// Tie reports whether rounding may change a choice: the last chosen value and the first that is not
// chosen lie within their noise. values and sigma hold all of [Graph.Choices].
func (g *Graph) Tie(values Values[float64], sigma map[string][]float64) bool {
	for _, n := range g.Nodes {
		if n.Op != "topk" && n.Op != "topk_indices" {
			continue
		}
		name := n.Operands[0].Name
		if tied(values[name], sigma[name], n.Attributes.Dim, n.Attributes.Count) {
			return true
		}
	}
	return false
}

// tied reports whether a choice along one dimension is within noise.
func tied(x *Tensor[float64], sigma []float64, dim, count int) bool {
	const many = 10 // standard deviations
	length, step := x.Shape[dim], strides(x.Shape)[dim]
	if count >= length {
		return false
	}
	order := make([]int, length)
	for first := range x.Data {
		if first/step%length != 0 {
			continue
		}
		for i := range order {
			order[i] = first + i*step
		}
		slices.SortStableFunc(order, func(a, b int) int {
			switch {
			case x.Data[a] > x.Data[b]:
				return -1
			case x.Data[a] < x.Data[b]:
				return 1
			}
			return 0
		})
		last, next := order[count-1], order[count]
		if x.Data[last]-x.Data[next] < many*math.Hypot(sigma[last], sigma[next]) {
			return true
		}
	}
	return false
}
