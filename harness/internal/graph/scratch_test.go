package graph

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A run that frees its values gives the same output as one that keeps them, also where values share
// memory.
func TestValuesInMemoryOfOthers(t *testing.T) {
	const count, wide = 100, 2 * leastUsedAgain
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		g, given := &Graph{}, Values[float64]{"x": made[float64]([]int{2, wide / 2}, wide)}
		for i := range given["x"].Data {
			given["x"].Data[i] = r.NormFloat64()
		}
		names := []string{"x"}
		for i := range count {
			operand := func() Operand { return Value(names[max(0, len(names)-1-r.IntN(4))]) }
			n := Node{Name: fmt.Sprint("n", i), Shape: []int{2, wide / 2}}
			switch r.IntN(3) {
			case 0:
				n.Op, n.Operands, n.Attributes.Shape = "reshape", []Operand{operand()}, n.Shape
			case 1:
				n.Op, n.Operands = "sub", []Operand{operand(), operand()}
			default:
				n.Op, n.Operands = "tanh", []Operand{operand()}
			}
			g.Nodes, names = append(g.Nodes, n), append(names, n.Name)
		}
		all, err := Run(g, given)
		require.NoError(t, err)
		right := slices.Clone(given["x"].Data)
		for _, wanted := range [][]string{{"n99"}, {"n50", "n98", "n99"}} {
			some, err := Outputs(nil, g, given, wanted...)
			require.NoError(t, err)
			for _, name := range wanted {
				require.Equal(t, all[name].Data, some[name].Data, name)
			}
		}
		require.Equal(t, right, given["x"].Data)
	}
}

// Memory that a computed node keeps of its operand, or gives again, stays as it is.
func TestMemoryOfComputedNodes(t *testing.T) {
	const size = leastUsedAgain
	x, table := made[float64]([]int{size}, size), made[float64]([]int{size}, size)
	x.Data[0], table.Data[0] = 3, 5
	var kept *Tensor[float64]
	keep := func(in []*Tensor[float64], _ Rounding) (*Tensor[float64], []float64, error) {
		kept = in[0]
		return table, nil, nil
	}
	shape := []int{size}
	g := &Graph{Nodes: []Node{
		{Name: "a", Op: "add", Operands: []Operand{Value("x"), Value("x")}, Shape: shape},
		{Name: "b", Operands: []Operand{Value("a")}, Shape: shape, Computed: keep},
		{Name: "c", Op: "add", Operands: []Operand{Value("b"), Value("x")}, Shape: shape},
		{Name: "d", Op: "mul", Operands: []Operand{Value("c"), Value("c")}, Shape: shape},
	}}
	for range 3 {
		values, err := Outputs(nil, g, Values[float64]{"x": x}, "d")
		require.NoError(t, err)
		assert.Equal(t, 64.0, values["d"].Data[0])
		assert.Equal(t, 6.0, kept.Data[0])
		assert.Equal(t, 5.0, table.Data[0])
	}
}
