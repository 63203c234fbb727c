package graph_test

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/graph"
)

// A graph that is accepted has operands that earlier nodes, inputs, parameters or constants name.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"rms-norm", "gemma-norm", "layer-norm"} {
		data, err := fs.ReadFile(fixtures.FS, "blocks/"+name+"/graph.json")
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add([]byte(`{"version":1,"inputs":{"x":"x"},"parameters":[],"constants":[],"output":"y","nodes":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := graph.Parse(data)
		if err != nil {
			return
		}
		known := map[string]bool{"": true}
		for value := range g.Inputs {
			known[value] = true
		}
		for _, names := range [][]string{g.Parameters, g.Constants} {
			for _, name := range names {
				known[name] = true
			}
		}
		for _, n := range g.Nodes {
			for _, operand := range n.Operands {
				require.True(t, known[operand.Name], "%q", operand.Name)
			}
			known[n.Name] = true
		}
		require.True(t, known[g.Output])
	})
}
