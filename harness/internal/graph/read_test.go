package graph_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/graph"
)

// small computes y = gelu(x W^T), z = x + y.
const small = `{
  "version": 1,
  "inputs": {"x": "x"},
  "parameters": ["w"],
  "constants": [],
  "output": "z",
  "nodes": [
    {"name": "h", "op": "linear", "operands": ["x", "w", null], "attributes": {"weight": "out, in"}, "shape": [2, 3], "module": "up", "class": "Linear"},
    {"name": "y", "op": "gelu", "operands": ["h"], "attributes": {"approximate": "none"}, "shape": [2, 3], "module": "", "class": "Block"},
    {"name": "z", "op": "add", "operands": ["x", "y"], "attributes": {}, "shape": [2, 3], "module": "", "class": "Block"}
  ]
}`

func given() graph.Values[float64] {
	return graph.Values[float64]{
		"x": {Shape: []int{2, 3}, Data: []float64{1, 2, 3, 4, 5, 6}},
		"w": {Shape: []int{3, 3}, Data: []float64{0, 1, 0, 1, 0, 0, 0, 0, 1}},
	}
}

func TestParseReadsAGraphThatRuns(t *testing.T) {
	g, err := graph.Parse([]byte(small))
	require.NoError(t, err)
	values, err := graph.Run(g, given())
	require.NoError(t, err)
	assert.Equal(t, []float64{2, 1, 3, 5, 4, 6}, values["h"].Data)
	assert.InDelta(t, 2.954499736103642, values["z"].Data[0], 1e-15) // 1 + 2 Phi(2)
}

func TestParseAddsOperandsThatWereLeftOut(t *testing.T) {
	g, err := graph.Parse([]byte(strings.Replace(small, `"w", null]`, `"w"]`, 1)))
	require.NoError(t, err)
	assert.Equal(t, []graph.Operand{graph.Value("x"), graph.Value("w"), graph.None}, g.Nodes[0].Operands)
}

func TestParseRefusesWhatCannotBeComputed(t *testing.T) {
	for old, change := range map[string]struct{ to, want string }{
		`"version": 1`:              {`"version": 2`, "version: 2, want 1"},
		`"op": "gelu"`:              {`"op": "gelü"`, `nodes[1] "y": op: "gelü" is unknown`},
		`["h"]`:                     {`["q"]`, `nodes[1] "y": operands[0]: no value before this node is named "q"`},
		`["x", "y"]`:                {`["x", "z"]`, `nodes[2] "z": operands[0]`},
		`"name": "y"`:               {`"name": "x"`, `"x" is empty or names two values`},
		`"output": "z"`:             {`"output": "q"`, `output: "q" names no value`},
		`["x", "w", null]`:          {`["x", null, null]`, `operands[1]: missing`},
		`"attributes": {},`:         {`"attributes": {"size": 3},`, "size"},
		`"shape": [2, 3], "module"`: {`"shape": [-2, 3], "module"`, "a dimension of -2"},
		`["x", "y"],`:               {`["x", "y", "y"],`, `nodes[2] "z": operands: 3, want 2`},
		`["x", "y"], `:              {`["x"], `, `nodes[2] "z": operands[1]: missing`},
	} {
		broken := strings.Replace(small, old, change.to, 1)
		require.NotEqual(t, small, broken, old)
		_, err := graph.Parse([]byte(broken))
		if change.want == `nodes[2] "z": operands[0]` {
			change.want = `nodes[2] "z": operands[1]: no value before this node is named "z"`
		}
		assert.ErrorContains(t, err, change.want, change.to)
	}
}

func TestRunRefusesAShapeThatTheGraphDoesNotState(t *testing.T) {
	g, err := graph.Parse([]byte(strings.Replace(small, `"shape": [2, 3], "module": "up"`, `"shape": [3, 2], "module": "up"`, 1)))
	require.NoError(t, err)
	_, err = graph.Run(g, given())
	assert.EqualError(t, err, `node "h", linear: the result has shape [2 3], the graph says [3 2]`)
}

func TestRerunComputesWhatAnEditChanges(t *testing.T) {
	g, err := graph.Parse([]byte(small))
	require.NoError(t, err)
	values, err := graph.Run(g, given())
	require.NoError(t, err)
	v := graph.NewView(g, values)
	relu := func(_ *graph.View, n graph.Node) []graph.Node {
		if n.Op != "gelu" {
			return nil
		}
		return []graph.Node{n.Become("relu", n.Operands...)}
	}
	sites := v.Sites(relu)
	require.Equal(t, []int{1}, sites)
	edited := v.Apply(relu, sites)
	again, err := graph.Rerun(g, edited, values)
	require.NoError(t, err)
	whole, err := graph.Run(edited, given())
	require.NoError(t, err)
	assert.Equal(t, whole["z"].Data, again["z"].Data)
	assert.Equal(t, []float64{3, 3, 6, 9, 9, 12}, again["z"].Data)
	assert.Same(t, values["h"], again["h"], "the linear layer is not computed again")
	assert.Equal(t, "gelu", g.Nodes[1].Op, "the graph itself stays")
}

func TestOutputsComputesAndKeepsWhatIsNeeded(t *testing.T) {
	g, err := graph.Parse([]byte(small))
	require.NoError(t, err)
	values, err := graph.Run(g, given())
	require.NoError(t, err)
	dead := *g
	dead.Nodes = append(slices.Clone(g.Nodes), graph.Node{Name: "dead", Op: "add", Operands: []graph.Operand{graph.Value("none")}})
	kept, err := graph.Outputs(nil, &dead, given(), "h", "z")
	require.NoError(t, err, "a node that nothing needs is not computed")
	assert.Equal(t, graph.Values[float64]{"h": values["h"], "z": values["z"]}, kept)
	changed := *g
	changed.Nodes = slices.Clone(g.Nodes)
	changed.Nodes[0] = changed.Nodes[0].With(slices.Clone(g.Nodes[0].Operands)...).Set(func(a *graph.Attributes) { a.Eps = 1 })
	again, err := graph.Rerun(g, &changed, values)
	require.NoError(t, err)
	assert.Same(t, values["h"], again["h"], "a change that changes no value ends there")
	assert.Same(t, values["z"], again["z"])
}

func TestLayerSplitsAPathAtItsNumber(t *testing.T) {
	prefix, number, rest := graph.Layer("model.layers.12.mlp.up_proj")
	assert.Equal(t, []any{"model.layers", 12, "mlp.up_proj"}, []any{prefix, number, rest})
	_, number, _ = graph.Layer("model.norm")
	assert.Equal(t, -1, number)
}
