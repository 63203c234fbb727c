package attention_test

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// causalDecoder is a Llama layer with grouped heads wider than D/H, RoPE and QKNorm.
var causalDecoder = attention.Config{
	EmbedDim: 12, NumHeads: 4, NumKVHeads: 2, HeadDim: 6, ParamLayout: attention.LlamaLayout,
	RoPE: &attention.RoPE{Base: 10000}, QKNorm: &attention.QKNorm{Epsilon: 1e-6},
}

// randomTensor returns a tensor of standard normal numbers.
func randomTensor(seed uint64, shape ...int) *attention.Tensor {
	r := rand.New(rand.NewPCG(seed, 0))
	t := attention.NewTensor(shape...)
	for i := range t.Data {
		t.Data[i] = float32(r.NormFloat64())
	}
	return t
}

// newLayer returns a layer of zeros.
func newLayer(t *testing.T, c attention.Config) *attention.MultiHead {
	t.Helper()
	m, err := attention.New(c)
	require.NoError(t, err)
	return m
}

// filled overwrites the entries of dict with random tensors and returns dict.
func filled(dict attention.StateDict, seed uint64) attention.StateDict {
	for i, name := range slices.Sorted(maps.Keys(dict)) {
		dict[name] = randomTensor(seed+100*uint64(i), dict[name].Shape...)
	}
	return dict
}

func load(t testing.TB, m *attention.MultiHead, dict attention.StateDict) {
	t.Helper()
	_, err := m.LoadStateDict(dict, attention.Strict)
	require.NoError(t, err)
}

// loaded returns a layer with random parameters.
func loaded(t *testing.T, c attention.Config, seed uint64) *attention.MultiHead {
	t.Helper()
	m := newLayer(t, c)
	load(t, m, filled(m.StateDict(), seed))
	return m
}

// setIdentity sets weights (D, D) to the identity.
func setIdentity(dict attention.StateDict, names ...string) {
	for _, name := range names {
		d := dict[name].Shape[0]
		for i := range d {
			dict[name].Data[i*d+i] = 1
		}
	}
}

// self returns the inputs of self-attention.
func self(x *attention.Tensor) attention.Inputs {
	return attention.Inputs{Query: x, Key: x, Value: x}
}

func forward(t *testing.T, m *attention.MultiHead, in attention.Inputs) *attention.Tensor {
	t.Helper()
	out, err := m.Forward(in)
	require.NoError(t, err)
	return out.Output
}

// rows returns n rows of the first dimension, which share memory with t.
func rows(t *attention.Tensor, first, n int) *attention.Tensor {
	width := len(t.Data) / t.Shape[0]
	return &attention.Tensor{Shape: append([]int{n}, t.Shape[1:]...), Data: t.Data[first*width:][:n*width]}
}

// squeezed drops the first dimension, which is 1.
func squeezed(x *attention.Tensor) *attention.Tensor {
	return &attention.Tensor{Shape: x.Shape[1:], Data: x.Data}
}

// unsqueezed adds a first dimension of 1.
func unsqueezed(x *attention.Tensor) *attention.Tensor {
	return &attention.Tensor{Shape: append([]int{1}, x.Shape...), Data: x.Data}
}

func float64s(values []float32) []float64 {
	return (&attention.Tensor{Data: values}).Float64s()
}

func equalBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}
