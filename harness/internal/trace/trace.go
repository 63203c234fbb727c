// Package trace holds the values of the modules inside a model against PyTorch's, and finds the
// first module that is wrong. Every value is judged by the noise of the whole computation up to it.
package trace

import (
	"cmp"
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
type Array struct {
	Shape []int
	Data  []float64
	// Problem is why the array cannot be compared, "" if it can.
	Problem string
}

// Trace is the verdict on the values of some modules.
type Trace struct {
	// Lines holds a line for each value. Compared values come first, in the order of their
	// computation. The other values follow, by their paths.
	Lines []Line
	// First is the place of the first wrong line, -1 if no value is wrong.
	First int
	// Named explains the first wrong value.
	Named
	// Around is the path of a module around the first wrong one if Matches, Numbers and Wirings
	// explain the value of this module. It is "" if they explain the first wrong value itself.
	Around string
	// Same lists modules whose right output the first wrong value is.
	Same []string
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
	if len(values) == 0 {
		return Trace{First: -1}, nil
	}
	if m.LowerPrecision() {
		return NotCompared(values, "not compared: the noise of modules is known in float32 alone"), nil
	}
	t := Trace{First: -1}
	all := m.Submodules()
	expected, err := m.Expected(all)
	if err != nil {
		return Trace{}, fmt.Errorf("the noise of the modules: %w", err)
	}
	j := judge{m, all, expected, values}
	rest := maps.Clone(values)
	first := -1
	for i, o := range all {
		if values[o.Path] == nil {
			continue
		}
		delete(rest, o.Path)
		line, err := j.line(i)
		if err != nil {
			return Trace{}, err
		}
		t.Lines = append(t.Lines, line)
		if line.Wrong() && first < 0 {
			first, t.First = i, len(t.Lines)-1
		}
	}
	if first >= 0 {
		j.explain(ctx, &t, first)
	}
	t.leave(rest, func(path string) string { return cmp.Or(rest[path].Problem, j.unknown(path)) })
	return t, nil
}

// NotCompared returns a trace in which no value is compared, for one reason.
func NotCompared(values map[string]*Array, reason string) Trace {
	t := Trace{First: -1}
	t.leave(values, func(string) string { return reason })
	return t
}

// leave adds a line for each value that is not compared.
func (t *Trace) leave(values map[string]*Array, problem func(path string) string) {
	for _, path := range slices.Sorted(maps.Keys(values)) {
		t.Lines = append(t.Lines, Line{Path: path, Problem: problem(path)})
	}
}

// judge holds the values of a program against the right ones.
type judge struct {
	module   *replay.Module
	all      []graph.ModuleOutput
	expected []compare.Expected // of each
	values   map[string]*Array  // of the program, by path
}

// line compares the value of module i. Leading dimensions may be merged. A module may return
// several values, and the graph does not tell which comes first: the subject's value may be any of
// them. A value of another shape may be computed inside the module: a graph lacks unused outputs.
func (j judge) line(i int) (Line, error) {
	o, got, want := j.all[i], j.values[j.all[i].Path], j.expected[i]
	line := Line{Path: o.Path, Class: o.Class, Problem: got.Problem}
	if line.Problem != "" {
		return line, nil
	}
	candidates := j.module.Returned(o)
	if comparableShapes(got.Shape, want.Shape) {
		line.Comparison = compare.Outputs(want.Shape, got.Data, want)
		if line.Comparison.OK() || len(candidates) == 0 {
			return line, nil
		}
	} else {
		const text = "shape %s, want %s: not compared"
		line.Problem = fmt.Sprintf(text, attention.FormatShape(got.Shape), attention.FormatShape(want.Shape))
		candidates = j.module.Inside(o)
	}
	others, err := j.module.Expected(candidates)
	if err != nil {
		return Line{}, fmt.Errorf("the noise inside %s: %w", o.Path, err)
	}
	for _, other := range others {
		if !comparableShapes(got.Shape, other.Shape) {
			continue
		}
		if c := compare.Outputs(other.Shape, got.Data, other); c.OK() {
			return Line{Path: o.Path, Class: o.Class, Comparison: c}, nil
		}
	}
	return line, nil
}

// unknown says why the value at a path is not compared. A path with another beginning may be meant.
func (j judge) unknown(path string) string {
	var meant []string
	for _, o := range j.all {
		if strings.HasSuffix(o.Path, "."+path) || strings.HasSuffix(path, "."+o.Path) {
			meant = append(meant, o.Path)
		}
	}
	if len(meant) == 1 {
		return "not compared: the case has no such module; it has " + meant[0]
	}
	return "not compared: the case has no such module, or the module computes constants alone"
}

// comparableShapes reports whether two shapes are the same, or have the same rows in other leading
// dimensions.
func comparableShapes(got, want []int) bool { return slices.Equal(got, want) || sameRows(got, want) }

// sameRows reports whether two shapes have as many rows of the same width.
func sameRows(got, want []int) bool {
	return len(got) > 0 && len(want) > 0 && num.Last(got) == num.Last(want) && num.Size(got) == num.Size(want)
}

// Compared counts the lines that were compared.
func (t Trace) Compared() int {
	n := 0
	for _, line := range t.Lines {
		if line.Problem == "" {
			n++
		}
	}
	return n
}

// Unused reports whether values behind the first wrong one were compared, and all of them are
// right.
func (t Trace) Unused() bool {
	compared := 0
	for _, line := range t.Lines[t.First+1:] {
		if line.Wrong() {
			return false
		}
		if line.Problem == "" {
			compared++
		}
	}
	return compared > 0
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

// Elsewhere reports whether a path is neither the first wrong module, nor around it, nor inside it.
func (t Trace) Elsewhere(path string) bool {
	first := t.Lines[t.First].Path
	return path != "" && !graph.Within(first, path) && !graph.Within(path, first)
}
