package transformer_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/attention/transformer"
)

// A later token reaches earlier rows in BERT alone, and no family mixes batch elements.
func TestWhatATokenReaches(t *testing.T) {
	for name, c := range families {
		m, ids := filled(t, c), tokens()
		before := forward(t, m, transformer.Inputs{InputIDs: ids})
		ids[1][4] = 7
		after := forward(t, m, transformer.Inputs{InputIDs: ids})
		require.Equal(t, before.Data[:len(before.Data)/2], after.Data[:len(after.Data)/2], name)
		earlier := !slices.Equal(token(before, 1, 0), token(after, 1, 0))
		require.Equal(t, name == "bert", earlier, name)
		require.NotEqual(t, token(before, 1, 4), token(after, 1, 4), name)
	}
}

// A padded token changes no other row, wherever it stands.
func TestPadding(t *testing.T) {
	mask := [][]int{{1, 1, 0, 1, 1}, {1, 1, 1, 1, 1}}
	for name, c := range families {
		m, ids := filled(t, c), tokens()
		before := forward(t, m, transformer.Inputs{InputIDs: ids, AttentionMask: mask})
		ids[0][2] = 8
		after := forward(t, m, transformer.Inputs{InputIDs: ids, AttentionMask: mask})
		for i := range 5 {
			require.Equal(t, i != 2, slices.Equal(token(before, 0, i), token(after, 0, i)), "%s, token %d", name, i)
		}
	}
}

// Positions count: the same tokens in another order give other rows.
func TestOrderCounts(t *testing.T) {
	for name, c := range families {
		m := filled(t, c)
		out := forward(t, m, transformer.Inputs{InputIDs: [][]int{{3, 1, 4}, {1, 3, 4}}})
		require.NotEqual(t, token(out, 0, 2), token(out, 1, 2), name)
	}
}

// A tied head has its weight under two names, and the last that is loaded decides.
func TestTiedHead(t *testing.T) {
	m := filled(t, smallGPT2)
	dict := m.StateDict()
	require.Equal(t, dict["transformer.wte.weight"], dict["lm_head.weight"])
	dict["lm_head.weight"].Data[0] = 42
	load(t, m, dict)
	require.Equal(t, float32(42), m.StateDict()["transformer.wte.weight"].Data[0])

	untied := smallGPT2
	untied.TieWordEmbeddings = false
	m = filled(t, untied)
	dict = m.StateDict()
	require.NotEqual(t, dict["transformer.wte.weight"], dict["lm_head.weight"])
}

// A load that fails lists everything that is wrong and changes nothing.
func TestFailedLoadChangesNothing(t *testing.T) {
	m := filled(t, smallLlama)
	before := m.StateDict()
	dict := m.StateDict()
	for _, p := range dict {
		clear(p.Data)
	}
	delete(dict, "model.norm.weight")
	dict["model.layers.0.mlp.up_proj.bias"] = vector(1)
	dict["model.layers.1.self_attn.q_proj.weight"] = vector(1)
	_, err := m.LoadStateDict(dict, attention.Strict)
	require.EqualError(t, err, "error(s) in loading state_dict for LlamaForCausalLM:"+
		"\n\tmissing key(s) in state_dict: \"model.norm.weight\""+
		"\n\tunexpected key(s) in state_dict: \"model.layers.0.mlp.up_proj.bias\""+
		"\n\tsize mismatch for model.layers.1.self_attn.q_proj.weight: "+
		"the state dict has shape (1,), the model has (24, 12)")
	require.Equal(t, before, m.StateDict())
}

// A lenient load loads what it finds, in attention, too.
func TestLenientLoad(t *testing.T) {
	m := filled(t, smallBert)
	before := forward(t, m, transformer.Inputs{InputIDs: tokens()})
	const key = "encoder.layer.1.attention.self.query.weight"
	changed := m.StateDict()[key]
	slices.Reverse(changed.Data)
	keys, err := m.LoadStateDict(attention.StateDict{key: changed, "other": vector(1)}, attention.Lenient)
	require.NoError(t, err)
	require.Equal(t, []string{"other"}, keys.Unexpected)
	require.Len(t, keys.Missing, len(m.StateDict())-1)
	require.NotEqual(t, before.Data, forward(t, m, transformer.Inputs{InputIDs: tokens()}).Data)
}

// Every parameter changes the output, so that none is forgotten.
func TestEveryParameterCounts(t *testing.T) {
	for name, c := range families {
		m := filled(t, c)
		dict := m.StateDict()
		in := transformer.Inputs{InputIDs: tokens(), TokenTypeIDs: map[bool][][]int{
			true: {{0, 1, 0, 1, 1}, {0, 0, 0, 1, 1}},
		}[name == "bert"]}
		before := forward(t, m, in)
		for _, key := range slices.Sorted(maps.Keys(dict)) {
			changed := maps.Clone(dict)
			changed[key] = dict[key].Clone()
			for i := range changed[key].Data {
				changed[key].Data[i] = -changed[key].Data[i]
			}
			if name == "gpt2" && key == "transformer.wte.weight" {
				continue // the head's name for it decides
			}
			load(t, m, changed)
			after := forward(t, m, in)
			// A bias of all keys changes no softmax.
			constant := name == "bert" && key[len(key)-len(".key.bias"):] == ".key.bias"
			require.Equal(t, !constant, !close(before, after), "%s %s", name, key)
		}
	}
}

func close(a, b *attention.Tensor) bool {
	for i, v := range a.Data {
		if d := v - b.Data[i]; d > 1e-3 || d < -1e-3 {
			return false
		}
	}
	return true
}

func TestInputsThatDoNotFit(t *testing.T) {
	ids := tokens()
	for _, tc := range []struct {
		name, family string
		in           transformer.Inputs
		want         string
	}{
		{"none", "llama", transformer.Inputs{}, "input_ids: no tokens"},
		{"empty", "llama", transformer.Inputs{InputIDs: [][]int{{}}}, "input_ids: no tokens"},
		{"large", "llama", transformer.Inputs{InputIDs: [][]int{{1, 11}}},
			"input_ids: element (0, 1) is 11, want 0 to 10"},
		{"negative", "llama", transformer.Inputs{InputIDs: [][]int{{1, -1}}},
			"input_ids: element (0, 1) is -1, want 0 to 10"},
		{"ragged", "llama", transformer.Inputs{InputIDs: [][]int{{1, 2}, {3}}}, "input_ids: row 1 has 1 tokens, want 2"},
		{"mask", "llama", transformer.Inputs{InputIDs: ids, AttentionMask: [][]int{{1}}},
			"attention_mask: 1 rows, want 2"},
		{"types", "llama", transformer.Inputs{InputIDs: ids, TokenTypeIDs: ids},
			"token_type_ids: the model has no token types"},
		{"type", "bert", transformer.Inputs{InputIDs: [][]int{{1}}, TokenTypeIDs: [][]int{{2}}},
			"token_type_ids: element (0, 0) is 2, want 0 to 1"},
		{"long", "gpt2", transformer.Inputs{InputIDs: [][]int{make([]int, 8)}},
			"input_ids: 8 tokens, want at most 7, the learned positions"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := transformer.New(families[tc.family])
			require.NoError(t, err)
			_, err = m.Forward(tc.in)
			require.EqualError(t, err, tc.want)
		})
	}
	_, err := new(transformer.Model).Forward(transformer.Inputs{InputIDs: ids})
	require.EqualError(t, err, "the model was not made by New")
}

// Logits of Gemma stay below their softcap, and BERT has logits only with labels.
func TestHeads(t *testing.T) {
	for _, v := range forward(t, filled(t, smallGemma), transformer.Inputs{InputIDs: tokens()}).Data {
		require.LessOrEqual(t, max(v, -v), float32(3))
	}
	labelled := smallBert
	labelled.NumLabels = 3
	require.Equal(t, []int{2, 5, 12}, forward(t, filled(t, smallBert), transformer.Inputs{InputIDs: tokens()}).Shape)
	m := filled(t, labelled)
	require.Equal(t, []int{2, 5, 3}, forward(t, m, transformer.Inputs{InputIDs: tokens()}).Shape)
	require.Contains(t, m.StateDict(), "bert.encoder.layer.0.output.LayerNorm.bias")
	require.Contains(t, m.StateDict(), "classifier.bias")
}

// Sliding layers do not see tokens at the window's distance, full ones do.
func TestLayerTypes(t *testing.T) {
	c := smallLlama
	c.NumHiddenLayers, c.SlidingWindow = 1, 2
	for kind, reaches := range map[string]bool{"sliding_attention": false, "full_attention": true} {
		c.LayerTypes = []string{kind}
		m := filled(t, c)
		a := forward(t, m, transformer.Inputs{InputIDs: [][]int{{1, 2, 3}}})
		b := forward(t, m, transformer.Inputs{InputIDs: [][]int{{5, 2, 3}}})
		require.Equal(t, reaches, !slices.Equal(token(a, 0, 2), token(b, 0, 2)), kind)
		require.NotEqual(t, token(a, 0, 1), token(b, 0, 1), kind)
	}
}

// The options of LlamaConfig add parameters, or change the output.
func TestOptions(t *testing.T) {
	plain := filled(t, smallLlama)
	for name, tc := range map[string]struct {
		change func(*transformer.LlamaConfig)
		key    string
	}{
		"attention bias": {func(c *transformer.LlamaConfig) { c.AttentionBias = true }, "self_attn.o_proj.bias"},
		"qkv bias":       {func(c *transformer.LlamaConfig) { c.QKVBias = true }, "self_attn.k_proj.bias"},
		"mlp bias":       {func(c *transformer.LlamaConfig) { c.MLPBias = true }, "mlp.down_proj.bias"},
		"qk norm":        {func(c *transformer.LlamaConfig) { c.QKNorm = true }, "self_attn.q_norm.weight"},
		"partial rotary": {func(c *transformer.LlamaConfig) { c.PartialRotaryFactor = 0.4 }, ""},
		"head dim":       {func(c *transformer.LlamaConfig) { c.HeadDim = 0; c.PartialRotaryFactor = 0.7 }, ""},
	} {
		c := smallLlama
		tc.change(&c)
		m := filled(t, c)
		if tc.key != "" {
			require.NotContains(t, plain.StateDict(), "model.layers.1."+tc.key, name)
			require.Contains(t, m.StateDict(), "model.layers.1."+tc.key, name)
		}
		in := transformer.Inputs{InputIDs: tokens()}
		require.NotEqual(t, forward(t, plain, in).Data, forward(t, m, in).Data, name)
	}
	c := smallLlama
	c.QKVBias = true
	require.NotContains(t, filled(t, c).StateDict(), "model.layers.1.self_attn.o_proj.bias")
}

// The scores of GPT-2 can be left without their scale, or divided by the number of the layer.
func TestScoresOfGPT2(t *testing.T) {
	in := transformer.Inputs{InputIDs: tokens()}
	outputs := [][]float32{forward(t, filled(t, smallGPT2), in).Data}
	unscaled, inverse := smallGPT2, smallGPT2
	unscaled.UnscaledAttention, inverse.ScaleByInverseLayer = true, true
	for _, c := range []transformer.GPT2Config{unscaled, inverse} {
		out := forward(t, filled(t, c), in).Data
		for _, other := range outputs {
			require.NotEqual(t, other, out)
		}
		outputs = append(outputs, out)
	}
}

// Layers without experts have an MLP.
func TestDenseLayers(t *testing.T) {
	c := smallMoe
	c.DenseLayers = []int{0}
	dict := filled(t, c).StateDict()
	require.Contains(t, dict, "model.layers.0.mlp.gate_proj.weight")
	require.Contains(t, dict, "model.layers.1.mlp.experts.gate_up_proj")
	require.NotContains(t, dict, "model.layers.1.mlp.gate_proj.weight")
}

// Configurations that cannot be are refused with every reason.
func TestConfigsThatCannotBe(t *testing.T) {
	nan := func() (c transformer.GemmaConfig) {
		c = smallGemma
		c.FinalLogitSoftcapping, c.RMSNormEps = -1, -1
		return c
	}()
	layers := smallLlama
	layers.LayerTypes, layers.PartialRotaryFactor = []string{"linear_attention"}, 2
	dense := smallMoe
	dense.DenseLayers, dense.IntermediateSize = []int{2}, 0
	pooled := smallBert
	pooled.Pooler, pooled.NumLabels = true, 3
	odd := smallGPT2
	odd.NHead = 5
	groups := smallMoe
	groups.Experts.NGroup, groups.Experts.TopKGroup = 4, 1
	groups.Experts.SharedGate = true
	for name, tc := range map[string]struct {
		config transformer.Config
		want   []string
	}{
		"gemma": {nan, []string{"final logit softcapping -1", "rms norm eps -1"}},
		"layers": {layers, []string{
			"1 layer types for 2 layers", `layer type 0 is "linear_attention"`, "partial rotary factor 2",
		}},
		"dense":  {dense, []string{"dense layer 2, want 0 to 1", "intermediate size 0"}},
		"pooled": {pooled, []string{"a pooler and num labels exclude each other"}},
		"heads":  {odd, []string{"attention: num heads 5 does not divide embed dim 12"}},
		"groups": {groups, []string{"n group 4: want two experts or more", "shared gate: without"}},
		"empty": {transformer.LlamaConfig{}, []string{
			"vocab size 0", "num hidden layers 0", "attention: embed dim 0", "attention: rope: base 0", `activation ""`,
		}},
		"empty bert": {transformer.BertConfig{}, []string{"type vocab size 0", "attention: num heads 0"}},
		"empty gpt2": {transformer.GPT2Config{}, []string{"n positions 0", "n inner 0", "attention: embed dim 0"}},
		"empty moe":  {transformer.MoeConfig{}, []string{"num experts 0", "num experts per tok 0"}},
	} {
		m, err := transformer.New(tc.config)
		require.Nil(t, m, name)
		for _, want := range tc.want {
			require.ErrorContains(t, err, "config: "+want, name)
		}
	}
	require.NoError(t, errors.Join(smallLlama.Check(), smallGemma.Check(), smallMoe.Check()))
}
