package sites

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// setOutput follows the context of a node of attention to the output projection. Without one the
// site ends where the heads are merged.
func (s *Site) setOutput(
	v *graph.View, values graph.Values[float64], n *graph.Node, l *oracle.Layer, q *split,
) bool {
	merged, nodes := movedFrom(v, n)
	from := placesAfter(nodes, values, merged.Name, map[string][]float64{n.Name: places(num.Size(n.Shape))})
	columns := s.setRows(from, num.Last(merged.Shape), q, num.Last(n.Shape))
	if columns == nil {
		return false
	}
	if users := v.Users(merged.Name); merged.Name != v.Output && len(users) == 1 &&
		users[0].Op == "linear" && users[0].Operands[0].Name == merged.Name {
		l.Output = withInputs(linearOf(users[0], values, nil), columns)
		s.Output = users[0].Name
		return true
	}
	width := len(columns)
	l.Output = oracle.Linear{In: width, Out: width, Weight: make([]float64, width*width)}
	for feature, column := range columns {
		l.Output.Weight[column*width+feature] = 1
	}
	s.Output, s.unprojected = merged.Name, true
	return true
}

// movedFrom returns the last of the nodes that only move the elements of a value, and all of them.
func movedFrom(v *graph.View, n *graph.Node) (last *graph.Node, nodes []graph.Node) {
	last = n
	for last.Name != v.Output {
		users := v.Users(last.Name)
		if len(users) != 1 || len(users[0].Operands) != 1 || !slices.Contains(moves, users[0].Op) {
			break
		}
		last = users[0]
		nodes = append(nodes, *last)
	}
	return last, nodes
}

// setRows sets the row of the output for each token, from the places that context elements have in
// a matrix of some width. It returns the column of each feature of the merged heads, nil if rows are
// no tokens, or columns no features.
func (s *Site) setRows(from []int, width int, q *split, headWidth int) []int {
	features, tokens := q.heads*headWidth, q.batch*q.length
	if width != features || len(from) != features*tokens {
		return nil
	}
	columns := make([]int, features)
	s.rows = make([]int, tokens)
	at := func(i int) (token, feature int) {
		matrix := from[i] / headWidth / q.length
		token = matrix/q.heads*q.length + from[i]/headWidth%q.length
		return token, matrix%q.heads*headWidth + from[i]%headWidth
	}
	for row := range tokens {
		token, _ := at(row * width)
		s.rows[token] = row
	}
	for column := range width {
		_, feature := at(column)
		columns[feature] = column
	}
	for i := range from {
		if token, feature := at(i); s.rows[token] != i/width || columns[feature] != i%width {
			return nil
		}
	}
	return columns
}

// withInputs returns a linear layer whose inputs come in another order.
func withInputs(l oracle.Linear, order []int) oracle.Linear {
	weight := make([]float64, 0, len(l.Weight))
	for o := range l.Out {
		for _, i := range order {
			weight = append(weight, l.Weight[o*l.In+i])
		}
	}
	l.Weight = weight
	return l
}
