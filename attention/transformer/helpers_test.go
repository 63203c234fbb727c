package transformer_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/attention/transformer"
)

// small are a few sizes that every family has.
var (
	smallLlama = transformer.LlamaConfig{
		VocabSize: 11, HiddenSize: 12, IntermediateSize: 10, NumHiddenLayers: 2, NumAttentionHeads: 4,
		NumKeyValueHeads: 2, HeadDim: 6, HiddenAct: transformer.SiLU, RMSNormEps: 1e-5, RopeTheta: 100,
	}
	smallGemma = transformer.GemmaConfig{
		LlamaConfig: smallLlama, QueryPreAttnScalar: 5, AttnLogitSoftcapping: 2, FinalLogitSoftcapping: 3,
		SandwichNorms: true,
	}
	smallGPT2 = transformer.GPT2Config{
		VocabSize: 11, NPositions: 7, NEmbd: 12, NLayer: 2, NHead: 3, ActivationFunction: transformer.GELUNew,
		LayerNormEpsilon: 1e-5, TieWordEmbeddings: true,
	}
	smallBert = transformer.BertConfig{
		VocabSize: 11, HiddenSize: 12, IntermediateSize: 10, NumHiddenLayers: 2, NumAttentionHeads: 3,
		MaxPositionEmbeddings: 7, TypeVocabSize: 2, HiddenAct: transformer.GELU, LayerNormEps: 1e-5,
	}
	smallMoe = transformer.MoeConfig{LlamaConfig: smallLlama, Experts: smallExperts}

	smallExperts = transformer.ExpertsConfig{
		HiddenSize: 12, HiddenAct: transformer.SiLU, MoeIntermediateSize: 5, NumExperts: 4, NumExpertsPerTok: 2,
	}
)

// families are small models by name.
var families = map[string]transformer.Config{
	"llama": smallLlama, "gemma": smallGemma, "gpt2": smallGPT2, "bert": smallBert, "moe": smallMoe,
}

// loader is a model or a block.
type loader interface {
	StateDict() attention.StateDict
	LoadStateDict(attention.StateDict, attention.Strictness) (attention.IncompatibleKeys, error)
}

// fill loads normal numbers into every parameter, and returns them.
func fill(t *testing.T, m loader, seed uint64) attention.StateDict {
	t.Helper()
	r, dict := rand.New(rand.NewPCG(seed, 0)), m.StateDict()
	for _, name := range slices.Sorted(maps.Keys(dict)) {
		for i := range dict[name].Data {
			dict[name].Data[i] = float32(r.NormFloat64())
		}
	}
	load(t, m, dict)
	return dict
}

func load(t *testing.T, m loader, dict attention.StateDict) {
	t.Helper()
	_, err := m.LoadStateDict(dict, attention.Strict)
	require.NoError(t, err)
}

// filled returns a model with random parameters.
func filled(t *testing.T, c transformer.Config) *transformer.Model {
	t.Helper()
	m, err := transformer.New(c)
	require.NoError(t, err)
	fill(t, m, 1)
	return m
}

func forward(t *testing.T, m *transformer.Model, in transformer.Inputs) *attention.Tensor {
	t.Helper()
	out, err := m.Forward(in)
	require.NoError(t, err)
	return out
}

// tokens are two sequences of five tokens.
func tokens() [][]int { return [][]int{{3, 1, 4, 1, 5}, {9, 2, 6, 5, 3}} }

// vector returns a tensor with one dimension.
func vector(values ...float32) *attention.Tensor {
	return &attention.Tensor{Shape: []int{len(values)}, Data: values}
}

// token returns the part of an output (B, T, width) that belongs to one token.
func token(out *attention.Tensor, b, t int) []float32 {
	width := out.Shape[2]
	return out.Data[(b*out.Shape[1]+t)*width:][:width]
}
