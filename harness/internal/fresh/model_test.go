package fresh

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
)

// numbers returns an input of a case.
func numbers(t *testing.T, c *fixture.Case, name string) []float64 {
	t.Helper()
	values, err := c.Given["inputs."+name].Numbers()
	require.NoError(t, err)
	return values
}

// Inputs are drawn by their kinds: ids in their range, different in each row, and masks that hide
// tokens at both ends of rows.
func TestInputsOfModels(t *testing.T) {
	of, err := fixture.Read(fixtures.FS, "models/gpt2")
	require.NoError(t, err)
	m, err := NewModel(of)
	require.NoError(t, err)
	require.True(t, m.Pads())
	left, right := false, false
	for seed := range uint64(20) {
		config := Config{Model: "models/gpt2", Batch: 3, Tokens: 6, Mask: "padding", Seed: seed}
		c, err := m.Case("mine/x", config)
		require.NoError(t, err)
		ids, mask := numbers(t, c, "input_ids"), numbers(t, c, "attention_mask")
		require.Len(t, ids, 18)
		for i, id := range ids {
			require.True(t, id >= 0 && id <= 26, "%v", id)
			if i >= 6 {
				require.NotEqual(t, ids[i-6], id, "two rows have the same id")
			}
		}
		require.Len(t, c.Padded, 1)
		require.Equal(t, "attention_mask", c.Padded[0].Mask)
		for i, shown := range mask {
			require.Equal(t, shown == 0, c.Padded[0].Rows.Data[i])
		}
		for b := range 3 {
			row := mask[6*b : 6*b+6]
			require.Contains(t, row, 1.0)
			left, right = left || row[0] == 0, right || row[5] == 0
		}
		again, err := m.Case("mine/x", config)
		require.NoError(t, err)
		require.Equal(t, c, again)
		read, ok := ConfigOf(c)
		require.True(t, ok)
		require.Equal(t, config, read)
	}
	require.True(t, left && right)
	whole, err := m.Case("mine/x", Config{Model: "models/gpt2", Batch: 1, Tokens: 1, Seed: 3})
	require.NoError(t, err)
	require.Empty(t, whole.Padded)
	require.Equal(t, []float64{1}, numbers(t, whole, "attention_mask"))
	require.Equal(t, "fuzz/gpt2-b1-t1-", Config{Model: "models/gpt2", Batch: 1, Tokens: 1}.Name("fuzz")[:16])
}

// Inputs of floats have the deviation of the captured ones, and positions count from 0.
func TestOtherKindsOfInputs(t *testing.T) {
	const text = `{"version": 1, "batch": 2, "tokens": 4, "most_tokens": 9, "inputs": {
		"x": {"kind": "floats", "shape": [{"batch": 1}, {"tokens": 1}, 50], "std": 0.02},
		"at": {"kind": "positions", "shape": [{"batch": 1}, {"tokens": 1}]},
		"seen": {"kind": "mask", "shape": [{"batch": 1}, {"tokens": 1}], "left": false, "right": true, "pads": false}
	}, "made": {"values": {}, "inputs": {}, "parameters": [], "constants": [], "nodes": []}, "graph": {
		"version": 1, "inputs": {"x": "x"}, "parameters": [], "constants": [], "output": "y", "nodes": [
			{"name": "y", "op": "neg", "operands": ["x"], "attributes": {}, "shape": [{"batch": 1}, {"tokens": 1}, 50],
			"module": "", "class": ""}]}}`
	m, err := NewModel(&fixture.Case{Name: "mine/neg", Shapes: []byte(text), Given: map[string]*npy.Array{
		"inputs.at": npy.IntArray(nil, 0), "inputs.seen": {DType: npy.Bool}, "inputs.x": {DType: npy.Float32},
	}})
	require.NoError(t, err)
	c, err := m.Case("mine/x", Config{Model: "mine/neg", Batch: 3, Tokens: 5, Mask: "padding", Seed: 2})
	require.NoError(t, err)
	require.Equal(t, []float64{0, 1, 2, 3, 4}, numbers(t, c, "at")[10:])
	square := 0.0
	for _, x := range numbers(t, c, "x") {
		square += x * x / 750
	}
	require.InEpsilon(t, 0.0004, square, 0.2)
	require.Equal(t, npy.Bool, c.Given["inputs.seen"].DType)
	require.Contains(t, numbers(t, c, "seen"), 0.0)
	require.Empty(t, c.Padded, "nothing tells which rows matter")
}
