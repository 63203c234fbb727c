package attention_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

var torchLayer = attention.Config{EmbedDim: 4, NumHeads: 2}

func TestStateDictKeys(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config attention.Config
		want   map[string][]int
	}{
		{"nn.MultiheadAttention", torchLayer, map[string][]int{
			"in_proj_weight": {12, 4}, "in_proj_bias": {12}, "out_proj.weight": {4, 4}, "out_proj.bias": {4},
		}},
		{"bias=False", attention.Config{EmbedDim: 4, NumHeads: 2, WithoutBias: true}, map[string][]int{
			"in_proj_weight": {12, 4}, "out_proj.weight": {4, 4},
		}},
		{"kdim, vdim", attention.Config{EmbedDim: 4, NumHeads: 2, KDim: 3, VDim: 5}, map[string][]int{
			"q_proj_weight": {4, 4}, "k_proj_weight": {4, 3}, "v_proj_weight": {4, 5},
			"in_proj_bias": {12}, "out_proj.weight": {4, 4}, "out_proj.bias": {4},
		}},
		{"vdim alone", attention.Config{EmbedDim: 4, NumHeads: 2, VDim: 5, WithoutBias: true}, map[string][]int{
			"q_proj_weight": {4, 4}, "k_proj_weight": {4, 4}, "v_proj_weight": {4, 5}, "out_proj.weight": {4, 4},
		}},
		{"seed", attention.Config{EmbedDim: 4, NumHeads: 2, ParamLayout: attention.SeedLayout, WithoutBias: true},
			map[string][]int{"W_Q": {4, 4}, "W_K": {4, 4}, "W_V": {4, 4}, "W_O": {4, 4}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := map[string][]int{}
			for name, v := range newLayer(t, tc.config).StateDict() {
				got[name] = v.Shape
			}
			require.Empty(t, cmp.Diff(got, tc.want))
		})
	}
}

func TestLoadStateDictCopies(t *testing.T) {
	m := newLayer(t, torchLayer)
	dict := filled(m.StateDict(), 1)
	keys, err := m.LoadStateDict(dict, attention.Strict)
	require.NoError(t, err)
	require.Empty(t, keys)
	require.Empty(t, cmp.Diff(m.StateDict(), dict))

	before := m.StateDict()
	dict["out_proj.bias"].Data[0]++
	copied := m.StateDict()["in_proj_weight"]
	copied.Data[0], copied.Shape[0] = 7, 7
	require.Empty(t, cmp.Diff(m.StateDict(), before), "the layer shares memory with a state dict")
}

// A second load leaves nothing of the first one, in any layout of parameters.
func TestLoadStateDictTwice(t *testing.T) {
	for layout := attention.TorchLayout; layout <= attention.FusedLayout; layout++ {
		c := attention.Config{EmbedDim: 8, NumHeads: 2, ParamLayout: layout, WithoutBias: layout == attention.SeedLayout}
		m, once := loaded(t, c, 1), loaded(t, c, 2)
		load(t, m, once.StateDict())
		in := self(randomTensor(3, 1, 4, 8))
		require.True(t, equalBits(forward(t, m, in).Data, forward(t, once, in).Data), layout)
	}
}

func TestLoadStateDictReportsEveryProblemInPyTorchsOrder(t *testing.T) {
	m := newLayer(t, attention.Config{EmbedDim: 4, NumHeads: 2, KDim: 3})
	before := m.StateDict()
	dict := filled(m.StateDict(), 1)
	delete(dict, "v_proj_weight")
	delete(dict, "k_proj_weight")
	delete(dict, "in_proj_bias")
	dict["W_Q"], dict["alpha"] = attention.NewTensor(4, 4), attention.NewTensor()
	dict["out_proj.weight"] = attention.NewTensor(4, 3)
	dict["q_proj_weight"] = attention.NewTensor(16)

	keys, err := m.LoadStateDict(dict, attention.Strict)
	want := &attention.LoadError{
		Module: "MultiHead",
		Keys: attention.IncompatibleKeys{
			Missing:    []string{"k_proj_weight", "v_proj_weight", "in_proj_bias"},
			Unexpected: []string{"W_Q", "alpha"},
		},
		Mismatched: []attention.SizeMismatch{
			{Name: "q_proj_weight", Dict: []int{16}, Model: []int{4, 4}},
			{Name: "out_proj.weight", Dict: []int{4, 3}, Model: []int{4, 4}},
		},
	}
	var got *attention.LoadError
	require.ErrorAs(t, err, &got)
	require.Empty(t, cmp.Diff(got, want))
	require.Equal(t, want.Keys, keys)
	require.Equal(t, `error(s) in loading state_dict for MultiHead:
	missing key(s) in state_dict: "k_proj_weight", "v_proj_weight", "in_proj_bias"
	unexpected key(s) in state_dict: "W_Q", "alpha"
	size mismatch for q_proj_weight: the state dict has shape (16,), the model has (4, 4)
	size mismatch for out_proj.weight: the state dict has shape (4, 3), the model has (4, 4)`, err.Error())
	require.Empty(t, cmp.Diff(m.StateDict(), before), "a failed load changed the layer")
}

func TestLenientLoad(t *testing.T) {
	m := newLayer(t, torchLayer)
	dict := filled(m.StateDict(), 1)
	delete(dict, "in_proj_bias")
	dict["extra"] = attention.NewTensor(1)
	keys, err := m.LoadStateDict(dict, attention.Lenient)
	require.NoError(t, err)
	want := attention.IncompatibleKeys{Missing: []string{"in_proj_bias"}, Unexpected: []string{"extra"}}
	require.Equal(t, want, keys)
	after := m.StateDict()
	require.Empty(t, cmp.Diff(after["out_proj.weight"], dict["out_proj.weight"]), "a matching key was not loaded")
	require.Empty(t, cmp.Diff(after["in_proj_bias"], attention.NewTensor(12)), "a missing key was touched")

	before := m.StateDict()
	wrong := filled(m.StateDict(), 2)
	wrong["out_proj.bias"] = attention.NewTensor(1) // no broadcasting, as in PyTorch
	_, err = m.LoadStateDict(wrong, attention.Lenient)
	require.ErrorContains(t, err, "size mismatch for out_proj.bias")
	require.Empty(t, cmp.Diff(m.StateDict(), before), "a failed load changed the layer")

	full := filled(m.StateDict(), 1)
	full["in_proj_bias"] = attention.NewTensor(1)
	_, err = m.LoadStateDict(full, attention.Strict)
	require.EqualError(t, err, `error(s) in loading state_dict for MultiHead:
	size mismatch for in_proj_bias: the state dict has shape (1,), the model has (12,)`)
}

func TestLoadStateDictRefusesBrokenTensors(t *testing.T) {
	m := newLayer(t, torchLayer)
	before := m.StateDict()
	dict := filled(m.StateDict(), 1)
	dict["in_proj_bias"] = nil
	dict["out_proj.bias"].Data = dict["out_proj.bias"].Data[:3]
	for _, s := range []attention.Strictness{attention.Strict, attention.Lenient} {
		_, err := m.LoadStateDict(dict, s)
		require.ErrorContains(t, err, "in_proj_bias: no tensor")
		var load *attention.LoadError
		require.ErrorAs(t, err, &load)
		require.Len(t, load.Invalid, 2)
		require.ErrorIs(t, err, load.Invalid[1])
		require.ErrorContains(t, err, "out_proj.bias: shape (4,) needs 4 elements, the data has 3")
		require.Empty(t, cmp.Diff(m.StateDict(), before), "a failed load changed the layer")
	}
	_, err := m.LoadStateDict(m.StateDict(), attention.Strictness(7))
	require.ErrorContains(t, err, "unknown strictness 7")
}
