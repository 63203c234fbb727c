// Package trace holds the values of the modules inside a model against PyTorch's, and finds the
// first module that is wrong. Every value is judged by the noise of the whole computation up to it.
package trace

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

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
	// Lines holds a line for each value: first those that were compared, in the order of their
	// computation, then the others, by their paths.
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
// mistake that gives the first wrong value.
func Judge(ctx context.Context, m *replay.Module, values map[string]*Array) (Trace, error) {
	var known []graph.ModuleOutput
	rest := maps.Clone(values)
	for _, o := range m.Submodules() {
		if values[o.Path] != nil {
			known = append(known, o)
			delete(rest, o.Path)
		}
	}
	expected, err := m.Expected(known)
	if err != nil {
		return Trace{}, fmt.Errorf("the noise of the modules: %w", err)
	}
	t := Trace{First: -1}
	for i, o := range known {
		line := newLine(o, values[o.Path], expected[i])
		if line.Wrong() && t.First < 0 {
			t.First = i
			if err := t.explain(ctx, m, o, expected[i], values[o.Path].Data); err != nil {
				return t, err
			}
			t.refute(m, o.Path, known[i+1:], values)
		}
		t.Lines = append(t.Lines, line)
	}
	for _, path := range slices.Sorted(maps.Keys(rest)) {
		t.Lines = append(t.Lines, Line{Path: path, Problem: "the case has no module there that computes anything"})
	}
	return t, nil
}

// explain looks for all that gives the first wrong value: mistakes, the right values of other
// modules, and other inputs.
func (t *Trace) explain(
	ctx context.Context, m *replay.Module, o graph.ModuleOutput, want compare.Expected, got []float64,
) error {
	part := m.Until(o, want)
	if t.Matches, t.Cut = part.Find(ctx, got); t.Cut != "" {
		return nil
	}
	all := m.Submodules()
	expected, err := m.Expected(all)
	if err != nil {
		return fmt.Errorf("the noise of the modules: %w", err)
	}
	for i, e := range expected {
		if len(e.Value) == len(got) && num.Last(e.Shape) == num.Last(want.Shape) &&
			compare.Outputs(e.Shape, got, e).OK() {
			t.Same = append(t.Same, all[i].Path)
		}
	}
	t.Wirings, t.Cut = part.Rewired(ctx, o.Path, got)
	return nil
}

// refute takes back the mistakes that do not give the later values of the same layer. They look
// like another mistake in the first wrong value alone.
func (t *Trace) refute(m *replay.Module, path string, later []graph.ModuleOutput, values map[string]*Array) {
	prefix, number, _ := graph.Layer(path)
	layer := strings.TrimPrefix(fmt.Sprintf("%s.%d", prefix, number), ".")
	for _, o := range later {
		if number >= 0 && graph.Within(o.Path, layer) {
			t.Matches = slices.DeleteFunc(t.Matches, func(found replay.Match) bool {
				return !m.Agrees(found, o, values[o.Path].Data)
			})
		}
	}
}

// newLine compares one value. Leading dimensions may be merged.
func newLine(o graph.ModuleOutput, got *Array, want compare.Expected) Line {
	line := Line{Path: o.Path, Class: o.Class}
	if len(got.Data) != len(want.Value) || !slices.Equal(got.Shape, want.Shape) && !sameRows(got.Shape, want.Shape) {
		const text = "shape %s, want %s: not compared"
		line.Problem = fmt.Sprintf(text, attention.FormatShape(got.Shape), attention.FormatShape(want.Shape))
		return line
	}
	line.Comparison = compare.Outputs(want.Shape, got.Data, want)
	return line
}

// sameRows reports whether two shapes have rows of the same width.
func sameRows(got, want []int) bool {
	return len(got) > 0 && len(want) > 0 && num.Last(got) == num.Last(want)
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
