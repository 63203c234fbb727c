package schemas_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/harnesstest"
)

// models is a suite of small models with their graphs.
const models = "../internal/edits/testdata/models"

// change makes a mistake in a graph or in its parameters. names has the value of each module's
// output by the path of the module.
type change func(g *graph.Graph, given map[string]*graph.Tensor[float32], names map[string]string)

// traces writes the output of a model with a mistake, and the outputs of its modules. One path does
// not exist.
func traces(t *testing.T, dir string, mistake change) {
	t.Helper()
	c, err := fixture.Read(os.DirFS(models), "llama")
	require.NoError(t, err)
	g, err := graph.Parse(c.Graph)
	require.NoError(t, err)
	given, err := graph.Given[float32](g, c.Given)
	require.NoError(t, err)
	right, err := graph.Run(g, given) // before the change
	require.NoError(t, err)
	names := map[string]string{}
	outputs := graph.NewView(g, right).ModuleOutputs()
	for _, o := range outputs {
		names[o.Path] = g.Nodes[o.Node].Name
	}
	mistake(g, given, names)
	wrong, err := graph.Run(g, given)
	require.NoError(t, err)
	write := func(file string, v *graph.Tensor[float32]) {
		file = filepath.Join(dir, "llama", file)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		data := harnesstest.NPY(&attention.Tensor{Shape: v.Shape, Data: v.Data})
		require.NoError(t, os.WriteFile(file, data, 0o644))
	}
	write("output.npy", wrong[g.Output])
	write("output/layers.9.npy", wrong[g.Output])
	for path, name := range names {
		write("output/"+path+".npy", wrong[name])
	}
}

// otherInput gives an MLP the output of the attention before it in place of the norm's.
func otherInput(g *graph.Graph, _ map[string]*graph.Tensor[float32], names map[string]string) {
	for i, n := range g.Nodes {
		operands := slices.Clone(n.Operands)
		for j, o := range operands {
			if graph.Within(n.Module, "layers.1.mlp") && o.Name == names["layers.1.post_attention_layernorm"] {
				operands[j] = graph.Value(names["layers.1.self_attn"])
			}
		}
		g.Nodes[i] = n.With(operands...)
	}
}

// otherColumn gives a linear layer another weight in one column.
func otherColumn(_ *graph.Graph, given map[string]*graph.Tensor[float32], _ map[string]string) {
	weight := given["layers.1.mlp.down_proj.weight"]
	changed, width := slices.Clone(weight.Data), weight.Shape[1]
	for i := 3; i < len(changed); i += width {
		changed[i] = float32(math.Sin(float64(i)))
	}
	given["layers.1.mlp.down_proj.weight"] = &graph.Tensor[float32]{Shape: weight.Shape, Data: changed}
}

// otherEpsAndScale gives all norms another epsilon, and all attention another scale.
func otherEpsAndScale(g *graph.Graph, _ map[string]*graph.Tensor[float32], _ map[string]string) {
	for i := range g.Nodes {
		a := &g.Nodes[i].Attributes
		a.Eps, a.Scale = 1e3*a.Eps, 0.7*a.Scale
	}
}
