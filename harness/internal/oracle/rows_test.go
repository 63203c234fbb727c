package oracle

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// marked returns a set of some rows of n.
func marked(n int, rows ...int) rowSet {
	all := make(rowSet, n)
	for _, row := range rows {
		all[row] = true
	}
	return all
}

// twoByTwo is a layer of two batch elements with two heads, three queries and four keys.
func twoByTwo() *Problem {
	return &Problem{
		Query: Array{Shape: []int{2, 3, 4}}, Key: Array{Shape: []int{2, 4, 4}},
		Layer: &Layer{Heads: 2, KVHeads: 2, Value: Linear{Out: 4}},
	}
}

// Rows of the result need the context rows of their position in every head, the inputs of these,
// and all keys of their batch elements.
func TestRowsThatRowsNeed(t *testing.T) {
	p := twoByTwo()
	require.Equal(t, []int{1, 4}, p.contextRows(marked(6, 1)).indices())
	require.Equal(t, []int{2, 5, 6, 9}, p.contextRows(marked(6, 2, 3)).indices())
	require.Nil(t, p.contextRows(nil))
	require.Equal(t, []int{1, 4}, p.queryInputRows(marked(12, 1, 4, 10)).indices())
	require.Equal(t, []int{0, 1, 2, 3}, p.keyInputRows(marked(12, 1, 4)).indices())
	require.Equal(t, []int{4, 5, 6, 7}, p.keyInputRows(marked(12, 10)).indices())
	require.Nil(t, p.keyInputRows(marked(12, 1, 10)), "all")
	require.Nil(t, p.keyInputRows(nil))
	require.Nil(t, p.queryInputRows(nil))

	p.Layer.MergeIndex = func(s Sizes, head, t, feature int) int { return (head*s.Length+t)*s.Width + feature }
	require.Equal(t, []int{0, 1}, p.contextRows(marked(6, 0)).indices())
	require.Equal(t, []int{2, 3}, p.contextRows(marked(6, 1)).indices())
	require.Equal(t, []int{10, 11}, p.contextRows(marked(6, 5)).indices())
	p.Mix = func(f Field) Field { return f }
	require.Equal(t, []int{0, 1, 3, 4}, p.contextRows(marked(6, 0)).indices())
	require.Equal(t, []int{7, 8, 10, 11}, p.contextRows(marked(6, 5)).indices())
	p.KVHead = func(head int) int { return 3 - head }
	require.Equal(t, []int{4, 5, 6, 7}, p.keyInputRows(marked(12, 1)).indices())
	p.Prepare = func(_, _, _ *Field) {}
	require.Nil(t, p.keyInputRows(marked(12, 1)))
	require.Nil(t, p.queryInputRows(marked(12, 1)))
	p.Prepare, p.Layer.SplitIndex = nil, p.Layer.MergeIndex
	require.Nil(t, p.queryInputRows(marked(12, 1)))
	p.Layer = nil
	require.Equal(t, marked(12, 1), p.contextRows(marked(12, 1)))
}

// Rows are found where Finish takes their elements from.
func TestRowsBeforeTheyAreMoved(t *testing.T) {
	shape := []int{2, 3, 2}
	p := &Problem{}
	require.Nil(t, p.rowsBeforeFinish(nil, shape))
	require.Equal(t, []int{1, 4}, p.rowsBeforeFinish([]int{4, 1}, shape).indices())
	p.Finish = func(f Field) Field { // three elements later
		moved := f.ZerosLike()
		moved.Take(3, f, 0, len(f.Value)-3)
		return moved
	}
	require.Empty(t, p.rowsBeforeFinish([]int{0}, shape).indices(), "zeros")
	require.Equal(t, []int{0}, p.rowsBeforeFinish([]int{1}, shape).indices())
	require.Equal(t, []int{3, 4}, p.rowsBeforeFinish([]int{5}, shape).indices())
	p.Finish = func(f Field) Field {
		f.Shape = []int{2, 6}
		return f
	}
	require.Equal(t, []int{3, 4, 5}, p.rowsBeforeFinish([]int{1}, shape).indices())
}

// Rows are computed together with those that share their softmax.
func TestRowsThatAreNormalisedTogether(t *testing.T) {
	p := twoByTwo()
	require.Equal(t, [][]int{{1}, {3, 4}, {11}}, p.groups(4, 3, marked(12, 1, 3, 4, 11)))
	require.Equal(t, marked(12, 1), p.withJointRows(marked(12, 1)))
	for axis, want := range map[Axis][]int{
		OverQueries: {3, 4, 5}, OverHeads: {1, 4}, OverHeadsAndKeys: {1, 4}, OverBatch: {4, 10},
	} {
		p.Axis = axis
		require.Equal(t, [][]int{want}, p.groups(4, 3, marked(12, 4)), axis)
		require.Equal(t, want, p.withJointRows(marked(12, 4)).indices(), axis)
		require.Nil(t, p.withJointRows(nil))
	}
	over := twoByTwo()
	over.Axis = OverBatch
	require.Equal(t, [][]int{{5, 11}, {0, 6}}, over.groups(4, 3, marked(12, 5, 6)), "in the order of their first rows")
}

// A row of the result has the context of its own position, unless something moves rows or features.
func TestRowsThatStayApart(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(p *Problem)
		apart  bool
	}{
		"a layer":    {func(*Problem) {}, true},
		"a function": {func(p *Problem) { p.Layer = nil }, true},
		"split":      {func(p *Problem) { p.Layer.SplitIndex = otherIndex }, true},
		"merge":      {func(p *Problem) { p.Layer.MergeIndex = otherIndex }, false},
		"turn":       {func(p *Problem) { p.Turn = &Turn{} }, false},
		"mix":        {func(p *Problem) { p.Mix = func(f Field) Field { return f } }, false},
		"finish":     {func(p *Problem) { p.Layer, p.Finish = nil, func(f Field) Field { return f } }, false},
	} {
		p := twoByTwo()
		tc.change(p)
		require.Equal(t, tc.apart, p.rowsStayApart(), name)
	}
}
