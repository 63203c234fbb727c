package sites

import (
	"io/fs"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// read returns the graph and the values of a module in testdata.
func read(t *testing.T, name string) (*graph.Graph, graph.Values[float64]) {
	t.Helper()
	return computed(t, os.DirFS("testdata"), "attention/"+name)
}

// computed returns the graph and the values of a module in a suite.
func computed(t *testing.T, suite fs.FS, name string) (*graph.Graph, graph.Values[float64]) {
	t.Helper()
	c, err := fixture.Read(suite, name)
	require.NoError(t, err)
	g, err := graph.Parse(c.Graph)
	require.NoError(t, err)
	given, err := graph.Given[float64](g, c.Given)
	require.NoError(t, err)
	values, err := graph.Run(g, given)
	require.NoError(t, err)
	return g, values
}

// siteIn returns the only site of a graph.
func siteIn(t *testing.T, g *graph.Graph, values graph.Values[float64]) *Site {
	t.Helper()
	found := Find(graph.NewView(g, values), values)
	require.Len(t, found, 1)
	return found[0]
}

func TestAttentionBetweenSeparateProjections(t *testing.T) {
	g, values := read(t, "separate")
	s := siteIn(t, g, values)
	p, l := s.problem, s.problem.Layer
	require.NotNil(t, l)
	assert.Equal(t, g.Output, s.Output)
	assert.Equal(t, []int{4, 2}, []int{l.Heads, l.KVHeads})
	assert.Equal(t, []int{20, 24}, []int{l.Query.In, l.Query.Out})
	assert.Equal(t, values["k_proj.weight"].Wide().Data, l.Key.Weight)
	assert.Equal(t, values["o_proj.bias"].Wide().Data, l.Output.Bias)
	assert.Equal(t, []float64{6, 10000, 1, 0}, []float64{
		float64(l.QueryRotary.Dim), l.QueryRotary.Base, l.QueryRotary.Factor, float64(l.QueryRotary.First),
	})
	assert.NotNil(t, p.Causal)
	assert.Equal(t, []int{3, 8}, p.Padding.Shape)
	assert.Equal(t, []bool{false, false, false, false, false, true, true, true}, p.Padding.Data[:8])
	assert.Nil(t, p.Block)
}

func TestAttentionBetweenFusedProjections(t *testing.T) {
	g, values := read(t, "fused")
	l := siteIn(t, g, values).problem.Layer
	require.NotNil(t, l)
	weight := values["c_attn.weight"].Wide().Data // (20, 72)
	for i, parts := range []oracle.Linear{l.Query, l.Key, l.Value} {
		assert.Equal(t, weight[5*72+24*i+7], parts.Weight[7*20+5])
		assert.Equal(t, values["c_attn.bias"].Wide().Data[24*i:][:24], parts.Bias)
	}
	g, values = read(t, "per-head")
	l = siteIn(t, g, values).problem.Layer
	require.NotNil(t, l)
	for i, parts := range []oracle.Linear{l.Query, l.Key, l.Value} {
		assert.Equal(t, values["query_key_value.bias"].Wide().Data[2*18+6*i:][:6], parts.Bias[2*6:][:6])
	}
	assert.Equal(t, 4, l.KeyRotary.Dim)
}

func TestWhatIsAddedToScores(t *testing.T) {
	g, values := read(t, "normed")
	p := siteIn(t, g, values).problem
	assert.Equal(t, 3, p.Window)
	assert.Equal(t, values["k_norm"].Wide().Data, p.Layer.KeyNorm.Weight)
	g, values = read(t, "relative")
	p = siteIn(t, g, values).problem
	assert.Nil(t, p.Causal)
	assert.Equal(t, 1.0, p.Scale)
	table := values["relative.weight"].Wide().Data // (9, 4) for distances of -4 to 4
	assert.Len(t, p.Relative, (2*7+1)*4)
	assert.Equal(t, table[:4], p.Relative[:4], "a distance of -7 counts as -4")
	assert.Equal(t, table[5*4:6*4], p.Relative[8*4:9*4], "a distance of 1")
}

func TestCrossAttention(t *testing.T) {
	g, values := read(t, "cross")
	p := siteIn(t, g, values).problem
	require.NotNil(t, p.Layer)
	assert.Equal(t, []int{3, 6, 20}, p.Query.Shape)
	assert.Equal(t, []int{3, 8, 20}, p.Key.Shape)
	assert.Nil(t, p.Causal)
}

// Where something else stands between a projection and attention, the site has attention alone.
func TestAttentionWithoutItsProjections(t *testing.T) {
	g, values := read(t, "separate")
	at := slices.IndexFunc(g.Nodes, func(n graph.Node) bool { return n.Op == "linear" })
	after := g.Nodes[at].Before(1, "tanh", g.Nodes[at].Shape, graph.Value(g.Nodes[at].Name))
	g.Nodes = slices.Insert(g.Nodes, at+1, after)
	g.Nodes[at+2].Operands = []graph.Operand{graph.Value(after.Name)}
	values, err := graph.Run(g, values)
	require.NoError(t, err)
	s := siteIn(t, g, values)
	assert.Nil(t, s.problem.Layer)
	assert.NotNil(t, s.problem.Causal)
	assert.Equal(t, "scaled_dot_product_attention", s.Output)
}

// A site whose problem does not give its value is left out.
func TestAProblemWithAnotherValue(t *testing.T) {
	g, values := read(t, "cross")
	right := values[g.Output]
	wrong := &graph.Tensor[float64]{Shape: right.Shape, Data: slices.Clone(right.Data)}
	wrong.Data[3] += 1e-9
	values[g.Output] = wrong
	found := Find(graph.NewView(g, values), values)
	require.Len(t, found, 1)
	assert.Nil(t, found[0].problem.Layer, "attention alone still gives its value")
}

// A site without an output projection has no mistakes with it.
func TestNoOutputProjection(t *testing.T) {
	g, values := read(t, "separate")
	end := len(g.Nodes) - 1
	g.Output, g.Nodes = g.Nodes[end].Operands[0].Name, g.Nodes[:end]
	s := siteIn(t, g, values)
	assert.Equal(t, g.Output, s.Output)
	var ids []string
	for _, m := range Mistakes(g, []*Site{s}) {
		ids = append(ids, m.ID)
	}
	assert.Contains(t, ids, "query-bias-missing")
	assert.Contains(t, ids, "heads-merge-reversed")
	assert.NotContains(t, ids, "output-weight-zero")
	assert.NotContains(t, ids, "output-projection-skipped")
}
