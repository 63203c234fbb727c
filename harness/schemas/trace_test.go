package schemas_test

import (
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

// traces writes the output of a model and the outputs of its modules. One MLP takes the output of
// the attention block, not of the norm behind it. One path does not exist.
func traces(t *testing.T, dir string) {
	t.Helper()
	c, err := fixture.Read(os.DirFS(models), "llama")
	require.NoError(t, err)
	g, err := graph.Parse(c.Graph)
	require.NoError(t, err)
	given, err := graph.Given[float32](g, c.Given)
	require.NoError(t, err)
	right, err := graph.Run(g, given)
	require.NoError(t, err)
	names := map[string]string{}
	outputs := graph.NewView(g, right).ModuleOutputs()
	for _, o := range outputs {
		names[o.Path] = g.Nodes[o.Node].Name
	}
	for i, n := range g.Nodes {
		operands := slices.Clone(n.Operands)
		for j, o := range operands {
			if graph.Within(n.Module, "layers.1.mlp") && o.Name == names["layers.1.post_attention_layernorm"] {
				operands[j] = graph.Value(names["layers.1.self_attn"])
			}
		}
		g.Nodes[i] = n.With(operands...)
	}
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
