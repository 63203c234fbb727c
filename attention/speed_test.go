package attention_test

import (
	"fmt"
	"testing"

	"github.com/difftest/difftest/attention"
)

func BenchmarkSDPA(b *testing.B) {
	q, k, v := randomTensor(1, 1, 8, 2048, 64), randomTensor(2, 1, 8, 2048, 64), randomTensor(3, 1, 8, 2048, 64)
	for name, causality := range map[string]attention.Causality{"whole": attention.NotCausal, "causal": attention.TopLeft} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := attention.SDPA(q, k, v, attention.SDPAOptions{Causality: causality}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(2*2*8*2048*2048*64/1e9*float64(b.N)/b.Elapsed().Seconds(), "GFLOP/s")
		})
	}
}

func BenchmarkLayer(b *testing.B) {
	for _, s := range []struct{ batch, length, d, heads, kv int }{{2, 512, 768, 12, 12}, {1, 512, 2048, 32, 8}} {
		b.Run(fmt.Sprint(s), func(b *testing.B) {
			m, err := attention.New(attention.Config{
				EmbedDim: s.d, NumHeads: s.heads, NumKVHeads: s.kv, ParamLayout: attention.LlamaLayout,
			})
			if err != nil {
				b.Fatal(err)
			}
			load(b, m, filled(m.StateDict(), 1))
			x := randomTensor(1, s.batch, s.length, s.d)
			for b.Loop() {
				if _, err := m.Forward(attention.Inputs{Query: x, Key: x, Value: x}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
