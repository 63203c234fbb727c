package trace

import (
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/replay"
)

// A program that gives one module another input is told which.
func TestOtherInputsAreFound(t *testing.T) {
	for _, tc := range []struct{ model, module, was, is, first string }{
		{"llama", "layers.1.mlp", "layers.1.post_attention_layernorm", "layers.1.self_attn", "layers.1.mlp.gate_proj"},
		{"llama", "layers.1.mlp", "layers.1.post_attention_layernorm", "layers.1.input_layernorm", "layers.1.mlp.gate_proj"},
		{"llama", "layers.1.post_attention_layernorm", "a value of layers.1 (add)", "layers.0", ""},
		{"llama", "layers.2.self_attn", "layers.2.input_layernorm", "layers.0", "layers.2.self_attn.q_proj"},
		{"llama", "lm_head", "norm", "layers.0.mlp", ""},
		{"bert", "layers.1.up", "layers.1.attention_norm", "layers.0", ""},
		{"bert", "layers.1.attention", "layers.0", "embeddings", "layers.1.attention.query"},
		{"bert", "layers.1.output_norm", "a value of layers.1 (add)", "layers.1.down", ""},
		{"bert", "head", "layers.1", "layers.0", ""},
	} {
		t.Run(tc.model+" "+tc.module+" "+tc.is, func(t *testing.T) {
			m := open(t, tc.model)
			trace := m.judge(t, m.traced(t, m.rewired(t, tc.module, tc.is)))
			require.GreaterOrEqual(t, trace.First, 0)
			if tc.first == "" {
				tc.first = tc.module
			}
			require.Equal(t, tc.first, trace.Lines[trace.First].Path)
			found := func(w replay.Wiring) bool { return w.Was == tc.was && w.Is == tc.is }
			require.True(t, slices.ContainsFunc(trace.Wirings, found), trace.Wirings)
			require.Len(t, trace.Wirings, 1)
			require.Empty(t, trace.Around)
		})
	}
}

// rewired returns the graph in which a module takes the output of another one instead of its first
// input.
func (m model) rewired(t *testing.T, module, is string) *graph.Graph {
	edited, taken := *m.graph, ""
	edited.Nodes = nil
	inside := map[string]bool{}
	for _, n := range m.graph.Nodes {
		inside[n.Name] = graph.Within(n.Module, module)
		operands := slices.Clone(n.Operands)
		if inside[n.Name] {
			if taken == "" {
				taken = n.Operands[0].Name
				require.False(t, inside[taken])
			}
			for i, o := range operands {
				if o.Name == taken {
					operands[i] = graph.Value(m.outputOf(t, is))
				}
			}
		}
		edited.Nodes = append(edited.Nodes, n.With(operands...))
	}
	return &edited
}

// A number of the configuration with another value is found in the first wrong module.
func TestANumberIsFound(t *testing.T) {
	m := open(t, "llama")
	edited := *m.graph
	edited.Nodes = slices.Clone(m.graph.Nodes)
	node := slices.IndexFunc(edited.Nodes, func(n graph.Node) bool { return n.Module == "layers.1.post_attention_layernorm" })
	edited.Nodes[node] = edited.Nodes[node].Set(func(a *graph.Attributes) { a.Eps = 3e-3 })
	trace := m.judge(t, m.traced(t, &edited))
	require.GreaterOrEqual(t, trace.First, 0)
	require.Equal(t, "layers.1.post_attention_layernorm", trace.Lines[trace.First].Path)
	require.Empty(t, trace.Matches)
	require.Len(t, trace.Numbers, 1)
	require.Equal(t, "norm-eps", trace.Numbers[0].Number.ID)
	require.InEpsilon(t, 3e-3, trace.Numbers[0].Value, 1e-3)
}

// A program that activates the product of gate and up has no value of the activation that PyTorch
// has. The module around it has the value of the mistake.
func TestAModuleAroundTheFirstWrongOneIsExplained(t *testing.T) {
	m := open(t, "llama")
	values := m.traced(t, m.mistakenAt(t, "gate-activated-last", "layers.1"))
	const act = "layers.1.mlp.act"
	values[act] = &Array{Shape: values[act].Shape, Data: slices.Clone(values["layers.1.mlp.up_proj"].Data)}
	for i := range values[act].Data {
		values[act].Data[i] *= 1.25
	}
	trace := m.judge(t, values)
	require.Equal(t, act, trace.Lines[trace.First].Path)
	require.Equal(t, "layers.1.mlp", trace.Around)
	require.Len(t, trace.Matches, 1)
	require.Equal(t, "gate-activated-last", trace.Matches[0].ID())
}

// A right value is also the value of every mistake that the case cannot see.
func TestARightModuleAroundAWrongOneNamesNothing(t *testing.T) {
	m := open(t, "llama")
	values := m.traced(t, m.graph)
	for i := range values["layers.1.mlp.down_proj"].Data {
		values["layers.1.mlp.down_proj"].Data[i] *= 1.5
	}
	trace := m.judge(t, values)
	require.Equal(t, "layers.1.mlp.down_proj", trace.Lines[trace.First].Path)
	require.True(t, trace.Unused())
	require.True(t, trace.empty(), trace.Named)
	require.Empty(t, trace.Around)
}

// A router returns several values. The graph does not tell which comes first, and lacks what
// nobody uses.
func TestAnyValueThatAModuleReturnsIsRight(t *testing.T) {
	c, err := fixture.Read(os.DirFS("../../../fixtures"), "models/moe-softmax")
	require.NoError(t, err)
	g, err := graph.Parse(c.Graph)
	require.NoError(t, err)
	module, err := replay.NewModule(g, c.Given, compare.Expected{
		Shape: c.Output.Shape, Value: c.Truth, Sigma: c.Sigma, Measured: true,
	})
	require.NoError(t, err)
	m := model{c, g, module}
	given, err := graph.Given[float64](g, c.Given)
	require.NoError(t, err)
	computed, err := graph.Run(g, given)
	require.NoError(t, err)
	tried := 0
	for _, o := range module.Submodules() {
		for _, place := range append(slices.Clone(o.Others), graph.NewView(g, computed).Inside(o.Path)...) {
			value, own := computed[g.Nodes[place].Name], computed[g.Nodes[o.Node].Name]
			returned := slices.Contains(o.Others, place)
			if !returned && comparableShapes(value.Shape, own.Shape) {
				continue // another value of the shape that the module returns is wrong
			}
			trace := m.judge(t, map[string]*Array{o.Path: {Shape: value.Shape, Data: value.Data}})
			require.Equal(t, -1, trace.First, "%s: %s", o.Path, g.Nodes[place].Name)
			require.Empty(t, trace.Lines[0].Problem)
			if tried++; tried == 12 {
				return
			}
		}
	}
	require.Greater(t, tried, 3)
}
