package protocol

import (
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// features names everything that goes beyond plain attention, in the order of PROTOCOL.md.
var features = []string{
	"grouped-heads", "masks", "padding", "additive-masks", "cache", "key-lengths", "first-positions",
	"softmax-precision", "window", "softcap", "alibi", "sinks", "rope", "qk-norm", "relative-bias", "bias-kv",
	"zero-attn", "attention-weights", "sequence-first", "unbatched", "torch-separate", "seed", "llama", "gpt2",
	"neox", "fused", "float16", "bfloat16", "float64",
}

// AllFeatures returns every feature that a child may offer.
func AllFeatures() []string { return slices.Clone(features) }

// Features returns the features that a case needs, sorted. It returns none for a module.
func Features(c *fixture.Case) []string {
	var needed []string
	need := func(feature string, needs bool) {
		if needs {
			needed = append(needed, feature)
		}
	}
	need(string(c.Precision), c.Precision != fixture.Float32)
	need("masks", c.Inputs.Block != nil || c.Options.Allow != nil)
	need("padding", c.Inputs.Padding != nil)
	need("additive-masks", c.Inputs.Bias != nil || c.Options.Bias != nil)
	need("cache", c.Inputs.PastKey != nil || c.Options.PastKey != nil)
	need("key-lengths", c.Options.KeyLengths != nil)
	need("first-positions", c.FirstPositions() != nil)
	switch c.Op {
	case fixture.SDPA:
		o := c.Options
		need("grouped-heads", o.GroupedQuery)
		needScores(need, o.Window, o.Softcap, o.ALiBi, o.Sinks != nil)
		need("softmax-precision", c.SoftmaxPrecision != "")
	case fixture.MultiHead:
		l := c.Layer
		needScores(need, l.Window, l.Softcap, l.ALiBi, l.Sinks)
		needLayer(need, l)
	}
	slices.Sort(needed)
	return needed
}

func needScores(need func(string, bool), window int, softcap float64, alibi, sinks bool) {
	need("window", window > 0)
	need("softcap", softcap > 0)
	need("alibi", alibi)
	need("sinks", sinks)
}

func needLayer(need func(string, bool), l attention.Config) {
	need("grouped-heads", l.NumKVHeads > 0 && l.NumKVHeads != l.NumHeads)
	need("rope", l.RoPE != nil)
	need("qk-norm", l.QKNorm != nil)
	need("relative-bias", l.RelativeBias > 0)
	need("bias-kv", l.BiasKV)
	need("zero-attn", l.ZeroAttn)
	need("attention-weights", l.NeedWeights != attention.NoWeights)
	need("sequence-first", l.InputLayout == attention.SequenceFirst)
	need("unbatched", l.InputLayout == attention.Unbatched)
	for _, keys := range []struct {
		feature string
		value   attention.ParamLayout
	}{
		{"torch-separate", attention.TorchSeparateLayout}, {"seed", attention.SeedLayout},
		{"llama", attention.LlamaLayout}, {"gpt2", attention.GPT2Layout},
		{"neox", attention.NeoXLayout}, {"fused", attention.FusedLayout},
	} {
		need(keys.feature, l.ParamLayout == keys.value)
	}
}
