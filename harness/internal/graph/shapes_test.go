package graph_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
)

// In the shape of the case, the graph is the case's own, and its constants have the stored
// elements.
func TestShapesHoldTheCase(t *testing.T) {
	for _, name := range []string{"models/gpt2", "models/llama", "models/bert"} {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		s, err := graph.ParseShapes(c.Shapes)
		require.NoError(t, err)
		text, constants, err := s.At(s.Batch, s.Tokens, c.Given)
		require.NoError(t, err)
		got, err := graph.Parse(text)
		require.NoError(t, err)
		want, err := graph.Parse(c.Graph)
		require.NoError(t, err)
		require.Equal(t, want, got, name)
		require.Len(t, constants, len(want.Constants))
		for role, a := range constants {
			stored, err := c.Given[role].Numbers()
			require.NoError(t, err)
			numbers, err := a.Numbers()
			require.NoError(t, err)
			require.InDeltaSlice(t, finite(stored), finite(numbers), 1e-13, "%s %s", name, role)
			require.Equal(t, c.Given[role].DType, a.DType)
			require.Equal(t, c.Given[role].Shape, a.Shape)
		}
		for input := range s.Inputs {
			shape, err := s.InputShape(input, s.Batch, s.Tokens)
			require.NoError(t, err)
			require.Equal(t, c.Given["inputs."+input].Shape, shape)
		}
	}
}

// finite replaces -inf, whose difference from itself is no number.
func finite(values []float64) []float64 {
	for i, x := range values {
		values[i] = max(x, -1e300)
	}
	return values
}

func TestParseShapesRefuses(t *testing.T) {
	c, err := fixture.Read(fixtures.FS, "models/gpt2")
	require.NoError(t, err)
	text := string(c.Shapes)
	for _, tt := range []struct{ old, new, want string }{
		{`"version": 1`, `"version": 2`, "version: 2, want 1"},
		{`"batch": 3`, `"batch": 0`, "batch: 0, want 1 to"},
		{`"tokens": 10`, `"tokens": 99999999`, "tokens: 99999999"},
		{`"kind": "ids"`, `"kind": "words"`, `inputs.input_ids: kind "words"`},
		{`"high": 26`, `"high": -1`, "inputs.input_ids"},
		{`"version"`, `"more": 1, "version"`, "more"},
		{`"op": "cumsum"`, `"op": "sumcum"`, `"sumcum" is unknown`},
		{`"arange": "made.arange"`, `"arange": "made.gone"`, "made.gone"},
		{`{"tokens": 1}`, `{"tokens": -1}`, "-10"},
		{`{"tokens": 1}`, `{"tokens": 99999999}`, "a dimension of 999999990"},
		{`{"tokens": 1}`, `{"pages": 1}`, ""},
	} {
		changed := strings.ReplaceAll(text, tt.old, tt.new)
		require.NotEqual(t, text, changed)
		_, err := graph.ParseShapes([]byte(changed))
		require.ErrorContains(t, err, tt.want, tt.new)
	}
}

func FuzzParseShapes(f *testing.F) {
	c, err := fixture.Read(fixtures.FS, "models/gpt2")
	require.NoError(f, err)
	f.Add(c.Shapes)
	f.Add([]byte(`{"version": 1, "batch": 1, "tokens": 1, "most_tokens": 1, "graph": {"1": 2}, "made": {}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := graph.ParseShapes(data); err == nil {
			_, _, err = s.At(s.Batch, s.Tokens, c.Given)
			if err == nil {
				require.NotEmpty(t, s)
			}
		}
	})
}
