package attention_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// .ci/bench runs the benchmarks of this file beside PyTorch, by their names.

func BenchmarkSDPA(b *testing.B) {
	for _, s := range []struct {
		heads, length int
		causality     attention.Causality
	}{
		{8, 2048, attention.NotCausal},
		{8, 2048, attention.TopLeft},
		{8, 1024, attention.NotCausal},
		{8, 512, attention.NotCausal},
		{16, 2048, attention.NotCausal},
		{32, 2048, attention.NotCausal},
	} {
		name := fmt.Sprintf("H%d_T%d", s.heads, s.length)
		if s.causality == attention.TopLeft {
			name += "_causal"
		}
		b.Run(name, func(b *testing.B) {
			random := func(seed uint64) *attention.Tensor { return randomTensor(seed, 1, s.heads, s.length, 64) }
			q, k, v := random(1), random(2), random(3)
			for b.Loop() {
				_, err := attention.SDPA(q, k, v, attention.SDPAOptions{Causality: s.causality})
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkLayer(b *testing.B) {
	for _, s := range []struct{ batch, length, width, heads, kvHeads int }{
		{2, 512, 768, 12, 12},
		{1, 512, 2048, 32, 8},
		{1, 512, 512, 8, 8},
		{1, 512, 1024, 8, 8},
		{1, 512, 2048, 8, 8},
	} {
		name := fmt.Sprintf("B%d_T%d_D%d_H%d_Hk%d", s.batch, s.length, s.width, s.heads, s.kvHeads)
		b.Run(name, func(b *testing.B) {
			m, err := attention.New(attention.Config{
				EmbedDim: s.width, NumHeads: s.heads, NumKVHeads: s.kvHeads, ParamLayout: attention.LlamaLayout,
			})
			require.NoError(b, err)
			load(b, m, filled(m.StateDict(), 1))
			in := self(randomTensor(1, s.batch, s.length, s.width))
			for b.Loop() {
				_, err := m.Forward(in)
				require.NoError(b, err)
			}
		})
	}
}
