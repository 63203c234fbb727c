package trace

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/replay"
)

// model is a small model with its graph.
type model struct {
	c      *fixture.Case
	graph  *graph.Graph
	module *replay.Module
}

func open(t *testing.T, name string) model {
	t.Helper()
	c, err := fixture.Read(os.DirFS("../edits/testdata"), "models/"+name)
	require.NoError(t, err)
	return of(t, c)
}

func of(t *testing.T, c *fixture.Case) model {
	t.Helper()
	g, err := graph.Parse(c.Graph)
	require.NoError(t, err)
	truth := compare.Expected{Shape: c.Output.Shape, Value: c.Truth, Sigma: c.Sigma, Measured: true}
	m, err := replay.NewModule(g, c.Given, truth.WithPadding(c.PaddedRows(truth.Shape)))
	require.NoError(t, err)
	return model{c, g, m.WithPadding(c.PaddedRowsInside)}
}

// traced returns the outputs of all modules in a graph like the model's, computed in float32.
func (m model) traced(t *testing.T, g *graph.Graph) map[string]*Array {
	t.Helper()
	given, err := graph.Given[float32](g, m.c.Given)
	require.NoError(t, err)
	return m.tracedFrom(t, g, given)
}

// tracedFrom returns the outputs of all modules in a graph, computed from given values.
func (m model) tracedFrom(t *testing.T, g *graph.Graph, given graph.Values[float32]) map[string]*Array {
	t.Helper()
	values, err := graph.Run(g, given)
	require.NoError(t, err)
	outputs := map[string]*Array{}
	for _, o := range m.module.Submodules() {
		v := values[m.graph.Nodes[o.Node].Name]
		wide := &Array{Shape: v.Shape}
		for _, x := range v.Data {
			wide.Data = append(wide.Data, float64(x))
		}
		outputs[o.Path] = wide
	}
	return outputs
}

func (m model) judge(t *testing.T, values map[string]*Array) Trace {
	t.Helper()
	trace, err := Judge(t.Context(), m.module, values)
	require.NoError(t, err)
	return trace
}

// mistakenAt returns the graph with a mistake in one layer.
func (m model) mistakenAt(t *testing.T, id, layer string) *graph.Graph {
	t.Helper()
	wide, err := graph.Given[float64](m.graph, m.c.Given)
	require.NoError(t, err)
	values, err := graph.Run(m.graph, wide)
	require.NoError(t, err)
	view := graph.NewView(m.graph, values)
	for _, mistake := range edits.Mistakes {
		if mistake.ID != id {
			continue
		}
		var sites []int
		for _, site := range view.Sites(mistake.Edit) {
			if graph.Within(m.graph.Nodes[site].Module, layer) {
				sites = append(sites, site)
			}
		}
		require.NotEmpty(t, sites, "%s in %s", id, layer)
		return view.Apply(mistake.Edit, sites)
	}
	require.Fail(t, "no such mistake", id)
	return nil
}

func TestARightProgramHasNoWrongModule(t *testing.T) {
	for _, name := range []string{"llama", "gemma", "bert"} {
		m := open(t, name)
		trace := m.judge(t, m.traced(t, m.graph))
		require.Equal(t, -1, trace.First, name)
		require.Greater(t, len(trace.Lines), 20)
		for _, line := range trace.Lines {
			require.Empty(t, line.Problem, line.Path)
			require.Less(t, line.Comparison.MaxZ, compare.MeasuredMaxZ/2.0, line.Path)
		}
	}
}

func TestTheFirstWrongModuleIsFoundAndNamed(t *testing.T) {
	for _, tc := range []struct{ model, mistake, layer, first string }{
		{"llama", "norm-mean-subtracted", "layers.1", "layers.1.input_layernorm"},
		{"llama", "gelu-tanh", "layers.2", "layers.2.mlp.act"},
		{"bert", "activation-relu", "layers.1", "layers.1.act"},
	} {
		t.Run(tc.model+" "+tc.mistake, func(t *testing.T) {
			m := open(t, tc.model)
			trace := m.judge(t, m.traced(t, m.mistakenAt(t, tc.mistake, tc.layer)))
			require.GreaterOrEqual(t, trace.First, 0)
			require.Equal(t, tc.first, trace.Lines[trace.First].Path)
			require.Len(t, trace.Matches, 1)
			require.Equal(t, tc.mistake, trace.Matches[0].ID())
			require.Equal(t, tc.layer, trace.Matches[0].Where)
		})
	}
}

// The last linear layer before the first wrong value is not the head of the model.
func TestNoPartOfAModelIsTakenForTheModel(t *testing.T) {
	m := open(t, "bert")
	trace := m.judge(t, m.traced(t, m.mistakenAt(t, "linear-bias-missing", "layers.1")))
	require.GreaterOrEqual(t, trace.First, 0)
	var ids []string
	for _, match := range trace.Matches {
		require.Equal(t, "layers.1", match.Where)
		ids = append(ids, match.ID())
	}
	require.Contains(t, ids, "linear-bias-missing")
	require.NotContains(t, ids, "head-bias-missing")
}

// The output of attention before its projection is no place of a mistake of attention. The mistake
// has the name that the output of the whole model gives it.
func TestAModuleInsideAttentionHasTheNameOfTheWhole(t *testing.T) {
	const layer = "bert.encoder.layer.1"
	m := of(t, harnesstest.ReadCase(t, "models/minilm"))
	values := m.traced(t, m.mistakenAt(t, "model-scale-missing", layer))
	self := layer + ".attention.self"
	trace := m.judge(t, map[string]*Array{self: values[self]})
	require.Equal(t, self, trace.Lines[trace.First].Path)
	require.Len(t, trace.Matches, 1)
	require.Equal(t, "scale-missing", trace.Matches[0].ID())
	require.Equal(t, layer, trace.Matches[0].Where)
}

// Values of later layers tell zeros for the parameter of one layer from zeros for every layer's.
func TestLaterLayersTellParametersApart(t *testing.T) {
	m := open(t, "bert")
	wide, err := graph.Given[float64](m.graph, m.c.Given)
	require.NoError(t, err)
	right, err := graph.Run(m.graph, wide)
	require.NoError(t, err)
	view := graph.NewView(m.graph, right)
	tried := 0
	for _, mistake := range edits.Parameters(view) {
		if mistake.Title != "zeros for layers.*.up.weight" && mistake.Title != "zeros for layers.0.up.weight" {
			continue
		}
		tried++
		values := m.traced(t, view.Apply(mistake.Edit, view.Sites(mistake.Edit)))
		trace := m.judge(t, map[string]*Array{
			"layers.0.up": values["layers.0.up"], "layers.0": values["layers.0"], "layers.1": values["layers.1"],
		})
		require.Equal(t, "layers.0.up", trace.Lines[trace.First].Path)
		require.Len(t, trace.Matches, 1)
		require.Equal(t, mistake.Title, trace.Matches[0].Title())
	}
	require.Equal(t, 2, tried)
}

func (m model) outputOf(t *testing.T, path string) string {
	t.Helper()
	for _, o := range m.module.Submodules() {
		if o.Path == path {
			return m.graph.Nodes[o.Node].Name
		}
	}
	require.Fail(t, "no such module", path)
	return ""
}

// A module that computes what another one should is told.
func TestTheOutputOfAnotherModuleIsTold(t *testing.T) {
	m := open(t, "llama")
	values := m.traced(t, m.graph)
	gate, up := "layers.0.mlp.gate_proj", "layers.0.mlp.up_proj"
	values[gate], values[up] = values[up], values[gate]
	trace := m.judge(t, values)
	require.Equal(t, []string{up}, trace.Same)
	require.Empty(t, trace.Around)
	require.Len(t, trace.Matches, 0)
}

// Some modules alone, unknown paths and other shapes are judged as far as they can be.
func TestValuesThatCannotBeCompared(t *testing.T) {
	m := open(t, "llama")
	all := m.traced(t, m.graph)
	one := all["layers.1.mlp"]
	trace := m.judge(t, map[string]*Array{
		"layers.1.mlp": {Shape: []int{one.Shape[0] * one.Shape[1], one.Shape[2]}, Data: one.Data},
		"layers.0.mlp": {Shape: []int{2, 3}, Data: make([]float64, 6)},
		"layers.9":     one,
	})
	require.Equal(t, -1, trace.First)
	require.Len(t, trace.Lines, 3)
	require.Contains(t, trace.Lines[0].Problem, "shape (2, 3), want (2, 7, 24)")
	require.True(t, trace.Lines[1].Comparison.OK())
	require.Equal(t, "layers.9", trace.Lines[2].Path)
	require.Contains(t, trace.Lines[2].Problem, "no such module")
}

// Values of a lower precision than float32 are not compared: they would all be wrong.
func TestValuesOfALowerPrecisionAreNotCompared(t *testing.T) {
	m := open(t, "llama")
	values := m.traced(t, m.mistakenAt(t, "norm-mean-subtracted", "layers.1"))
	trace, err := Judge(t.Context(), m.module.InLowerPrecision(m.module.Truth.Sigma), values)
	require.NoError(t, err)
	require.Equal(t, -1, trace.First)
	require.NotEmpty(t, trace.Lines)
	for _, line := range trace.Lines {
		require.Contains(t, line.Problem, "known in float32 alone", line.Path)
	}
}

// A later value that cannot be compared speaks neither for a mistake nor against it.
func TestAValueOfAnotherShapeRefutesNothing(t *testing.T) {
	m := open(t, "llama")
	values := m.traced(t, m.mistakenAt(t, "norm-mean-subtracted", "layers.1"))
	values["layers.1.mlp"] = &Array{Shape: []int{2, 3}, Data: make([]float64, 6)}
	trace := m.judge(t, values)
	require.Equal(t, "layers.1.input_layernorm", trace.Lines[trace.First].Path)
	require.Len(t, trace.Matches, 1)
	require.Equal(t, "norm-mean-subtracted", trace.Matches[0].ID())
}

func TestNothingIsLookedForWhenTheContextHasEnded(t *testing.T) {
	m := open(t, "llama")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	values := m.traced(t, m.mistakenAt(t, "norm-mean-subtracted", "layers.1"))
	trace, err := Judge(ctx, m.module, values)
	require.NoError(t, err)
	require.Equal(t, "layers.1.input_layernorm", trace.Lines[trace.First].Path)
	require.NotEmpty(t, trace.Cut)
	require.Empty(t, trace.Matches)
}
