package graph

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sample is one computation that PyTorch made in float64: see pyref/graph/samples.py.
type sample struct {
	Op         string
	Operands   []json.RawMessage
	Attributes Attributes
	Result     array
}

type array struct {
	DType  string
	Shape  []int
	Values []json.RawMessage
}

func samples(t *testing.T) []sample {
	t.Helper()
	data, err := os.ReadFile("testdata/operators.json")
	require.NoError(t, err)
	var all []sample
	require.NoError(t, json.Unmarshal(data, &all))
	require.NotEmpty(t, all)
	return all
}

func tensorOf[T Float](t *testing.T, a array) *Tensor[T] {
	t.Helper()
	made := &Tensor[T]{Shape: a.Shape, Bool: a.DType == "bool"}
	for _, v := range a.Values {
		switch string(v) {
		case "true":
			made.Data = append(made.Data, 1)
		case "false":
			made.Data = append(made.Data, 0)
		default:
			var x float64
			require.NoError(t, json.Unmarshal(v, &x))
			made.Data = append(made.Data, T(x))
		}
	}
	return made
}

// run computes a sample as a graph of one node.
func run[T Float](t *testing.T, s sample) (*Tensor[T], error) {
	t.Helper()
	node, values := Node{Name: "result", Op: s.Op, Attributes: s.Attributes, Shape: s.Result.Shape}, Values[T]{}
	for i, raw := range s.Operands {
		var o Operand
		if raw[0] == '{' {
			var a array
			require.NoError(t, json.Unmarshal(raw, &a))
			o = Value(string(rune('a' + i)))
			values[o.Name] = tensorOf[T](t, a)
		} else {
			require.NoError(t, json.Unmarshal(raw, &o))
		}
		node.Operands = append(node.Operands, o)
	}
	all, err := Run(&Graph{Output: "result", Nodes: []Node{node}}, values)
	return all["result"], err
}

func TestEveryOperatorGivesWhatPyTorchGives(t *testing.T) {
	covered := map[string]bool{}
	for _, s := range samples(t) {
		covered[s.Op] = true
		wide, err := run[float64](t, s)
		if assert.NoError(t, err, s.Op) {
			assertNear(t, s, wide, 1e-13)
		}
		narrow, err := run[float32](t, s)
		if assert.NoError(t, err, s.Op) {
			assertNear(t, s, narrow, 2e-6)
		}
	}
	for op := range operators64 {
		assert.True(t, covered[op], "no sample of %s", op)
	}
}

// assertNear compares with PyTorch's result, relative to its largest element.
func assertNear[T Float](t *testing.T, s sample, got *Tensor[T], tolerance float64) {
	t.Helper()
	want := tensorOf[float64](t, s.Result)
	require.Len(t, got.Data, len(want.Data), s.Op)
	largest, worst := 0.0, 0.0
	for i, w := range want.Data {
		largest, worst = max(largest, math.Abs(w)), max(worst, math.Abs(float64(got.Data[i])-w))
	}
	assert.LessOrEqual(t, worst, tolerance*largest, "%s %+v", s.Op, s.Attributes)
	assert.Equal(t, want.Bool, got.Bool, s.Op)
}
