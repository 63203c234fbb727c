package replay

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
)

// WithPadding returns the same module, in which some rows do not matter. padded returns them for a
// value of some shape, nil if all its rows matter.
func (m *Module) WithPadding(padded func(shape []int) []bool) *Module {
	other := *m
	other.padded, other.kept = padded, newKept() // kept outputs are blank in other rows
	other.right = other.blank(m.values[m.output])
	return &other
}

// blank returns a value with NaN in the rows that do not matter. Every output of a program is held
// against a blank one, and blank itself.
func (m *Module) blank(t *graph.Tensor[float64]) *graph.Tensor[float64] {
	rows := m.padded(t.Shape)
	if !slices.Contains(rows, true) {
		return t
	}
	e := compare.Expected{Value: t.Data, Padded: rows}
	return &graph.Tensor[float64]{Shape: t.Shape, Data: e.Blank(t.Data)}
}
