package catalogue_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/oracle"
)

const plantedDir = "testdata/planted/"

// Every mistake gives the output of the same mistake in plain PyTorch, written independently.
// pyref/planted computes the stored outputs, the first two batch elements in float32.
func TestMistakesAreThoseOfPyTorch(t *testing.T) {
	data, err := os.ReadFile(plantedDir + "index.json")
	require.NoError(t, err)
	var index map[string][]string
	require.NoError(t, json.Unmarshal(data, &index))
	checked := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(index)) {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		outputs := readPlanted(t, name)
		require.Equal(t, len(index[name]), outputs.Shape[0], name)
		size := len(outputs.Value) / outputs.Shape[0]
		for i, id := range index[name] {
			t.Run(name+"/"+id, func(t *testing.T) {
				requireSame(t, oracle.FromCase(c).Clone(), id, outputs.Value[i*size:][:size])
			})
			checked[id]++
		}
	}
	for _, m := range catalogue.WithVariants {
		tooWide := strings.HasSuffix(m.ID, "-128") && m.VariantOf != "" && !strings.HasPrefix(m.VariantOf, "tail-")
		if !m.Random && !tooWide { // no case has 128 keys
			require.Positive(t, checked[m.ID], "%s was never compared with PyTorch", m.ID)
		}
	}
}

// readPlanted reads the outputs of all mistakes planted in a case, (mistakes, ...).
func readPlanted(t *testing.T, name string) oracle.Array {
	t.Helper()
	data, err := os.ReadFile(plantedDir + strings.ReplaceAll(name, "/", "-") + ".npy")
	require.NoError(t, err)
	a, err := npy.Parse(data)
	require.NoError(t, err)
	values, err := a.Float64s()
	require.NoError(t, err)
	return oracle.Array{Shape: a.Shape, Value: values}
}

// requireSame plants a mistake in p, and compares its first values with PyTorch's, to float32
// rounding.
func requireSame(t *testing.T, p *oracle.Problem, id string, want []float64) {
	t.Helper()
	m, ok := catalogue.ByID(id)
	require.True(t, ok, "there is no such mistake")
	require.True(t, m.Plant(p, nil), "it does not apply here")
	f := p.Run()
	got := compare.Expected{Shape: []int{len(want)}, Value: f.Value[:len(want)], Sigma: f.Sigma()[:len(want)]}
	c := compare.Outputs(got.Shape, want, got)
	if !c.OK() || !(c.Rel < 1e-6) {
		t.Errorf("max z %.3g, rel %.3g, worst %+v", c.MaxZ, c.Rel, c.Worst)
	}
}
