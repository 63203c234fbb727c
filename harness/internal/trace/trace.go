// Package trace holds the values of the modules inside a model against PyTorch's, and finds the
// first module that is wrong. Every value is judged by the noise of the whole computation up to it.
package trace

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/replay"
)

// Array is the output of a module in the program under test.
type Array = graph.Tensor[float64]

// Trace is the verdict on the values of some modules.
type Trace struct {
	// Lines holds a line for each value. Compared values come first, in the order of their
	// computation. The other values follow, by their paths.
	Lines []Line
	// First is the place of the first wrong line, -1 if no value is wrong.
	First int
	// Matches are mistakes that give the first wrong value, the same in this case.
	Matches []replay.Match
	// Same lists modules whose right output the first wrong value is.
	Same []string
	// Wirings are other inputs of the first wrong module that give its value.
	Wirings []replay.Wiring
	// Cut says which mistakes were not tried on the first wrong value.
	Cut replay.Cut
}

// Line is the verdict on the output of one module.
type Line struct {
	Path, Class string
	Comparison  compare.Comparison // zero if Problem is set
	// Problem is why the value was not compared.
	Problem string
}

// Wrong reports whether the value was compared and is outside the noise.
func (l Line) Wrong() bool { return l.Problem == "" && !l.Comparison.OK() }

// Judge compares values with the outputs of the modules that have these paths. It looks for the
// mistake that gives the first wrong value. Nothing is compared in a lower precision than float32,
// because the noise of the modules is known in float32 alone.
func Judge(ctx context.Context, m *replay.Module, values map[string]*Array) (Trace, error) {
	t := Trace{First: -1}
	if m.LowerPrecision() {
		t.leave(values, "not compared: the noise of modules is known in float32 alone")
		return t, nil
	}
	all := m.Submodules()
	expected, err := m.Expected(all)
	if err != nil {
		return Trace{}, fmt.Errorf("the noise of the modules: %w", err)
	}
	rest := maps.Clone(values)
	for i, o := range all {
		got := values[o.Path]
		if got == nil {
			continue
		}
		delete(rest, o.Path)
		line := newLine(o, got, expected[i])
		t.Lines = append(t.Lines, line)
		if line.Wrong() && t.First < 0 {
			t.First = len(t.Lines) - 1
			t.explain(ctx, m, all, expected, i, got)
			t.refute(m, all[i:], expected[i:], values)
		}
	}
	t.leave(rest, "the case has no module there that computes anything")
	return t, nil
}

// leave adds a line for each value that is not compared.
func (t *Trace) leave(values map[string]*Array, problem string) {
	for _, path := range slices.Sorted(maps.Keys(values)) {
		t.Lines = append(t.Lines, Line{Path: path, Problem: problem})
	}
}

// explain looks for all that gives the value of the first wrong module: mistakes, the right values
// of other modules, and other inputs.
func (t *Trace) explain(
	ctx context.Context, m *replay.Module, all []graph.ModuleOutput, expected []compare.Expected, first int, got *Array,
) {
	part := m.Until(all[first], expected[first])
	if t.Matches, t.Cut = part.Find(ctx, got.Data); t.Cut != "" {
		return
	}
	for i, e := range expected {
		if sameRows(e.Shape, expected[first].Shape) && compare.Outputs(e.Shape, got.Data, e).OK() {
			t.Same = append(t.Same, all[i].Path)
		}
	}
	t.Wirings, t.Cut = part.Rewired(ctx, all[first].Path, got.Data)
}

// refute takes back the mistakes that do not give the later values of the layer of the first wrong
// module, which comes first. They look like another mistake in its value alone.
func (t *Trace) refute(
	m *replay.Module, from []graph.ModuleOutput, expected []compare.Expected, values map[string]*Array,
) {
	layer := graph.LayerPath(from[0].Path)
	if layer == "" {
		return
	}
	for i, o := range from[1:] {
		got := values[o.Path]
		if got == nil || !graph.Within(o.Path, layer) || !comparableShapes(got.Shape, expected[1+i].Shape) {
			continue
		}
		t.Matches = slices.DeleteFunc(t.Matches, func(found replay.Match) bool { return !m.Agrees(found, o, got.Data) })
	}
}

// newLine compares one value. Leading dimensions may be merged.
func newLine(o graph.ModuleOutput, got *Array, want compare.Expected) Line {
	line := Line{Path: o.Path, Class: o.Class}
	if !comparableShapes(got.Shape, want.Shape) {
		const text = "shape %s, want %s: not compared"
		line.Problem = fmt.Sprintf(text, attention.FormatShape(got.Shape), attention.FormatShape(want.Shape))
		return line
	}
	line.Comparison = compare.Outputs(want.Shape, got.Data, want)
	return line
}

// comparableShapes reports whether two shapes are the same, or have the same rows in other leading
// dimensions.
func comparableShapes(got, want []int) bool { return slices.Equal(got, want) || sameRows(got, want) }

// sameRows reports whether two shapes have as many rows of the same width.
func sameRows(got, want []int) bool {
	return len(got) > 0 && len(want) > 0 && num.Last(got) == num.Last(want) && num.Size(got) == num.Size(want)
}

// Right counts the lines before the first wrong one that were compared.
func (t Trace) Right() int {
	n := 0
	for _, line := range t.Lines[:max(0, t.First)] {
		if line.Problem == "" {
			n++
		}
	}
	return n
}
