package oracle_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention/kernel"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Plain loops and every set of instructions give the same values and variances, bit by bit, on
// every case.
func TestSameBitsWithEverySet(t *testing.T) {
	before := kernel.Used()
	t.Cleanup(func() { kernel.Use(before) })
	if len(kernel.Sets()) == 1 {
		t.Skip("this processor, or this build, has plain Go alone")
	}
	for _, name := range harnesstest.AttentionCases(t) {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		p := oracle.FromCase(c)
		kernel.Use(kernel.Plain)
		want := p.Run()
		for _, set := range kernel.Sets() {
			kernel.Use(set)
			got := p.Run()
			requireSameBits(t, want.Value, got.Value, "%s with %s", name, set)
			requireSameBits(t, want.Variance, got.Variance, "variance of %s with %s", name, set)
		}
	}
}

// requireSameBits demands the same numbers. All NaN are the same.
func requireSameBits(t *testing.T, want, got []float64, format string, args ...any) {
	t.Helper()
	require.Len(t, got, len(want), append([]any{format}, args...)...)
	for i := range want {
		same := math.Float64bits(want[i]) == math.Float64bits(got[i]) || want[i] != want[i] && got[i] != got[i]
		if !same {
			t.Fatalf("element %d is %v, want %v: "+format, append([]any{i, got[i], want[i]}, args...)...)
		}
	}
}

// A value that is not finite has no effect on the queries that do not see its key.
func TestHiddenInfinity(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	p := &oracle.Problem{Scale: 0.5, Causal: causal}
	p.Query, p.Key, p.Value = tensor(r, 1, 0, 2, 30, 6), tensor(r, 1, 0, 2, 30, 6), tensor(r, 1, 0, 2, 30, 6)
	want := p.Run()
	p.Value.Value[20*6+1] = math.Inf(1)
	got := p.Run()
	for i, v := range got.Value {
		row, feature := i/6, i%6
		if row >= 20 && row < 30 && feature == 1 {
			require.True(t, math.IsInf(v, 1), i)
			continue
		}
		require.Equal(t, want.Value[i], v, i)
		if row < 20 || row >= 30 {
			require.Equal(t, want.Variance[i], got.Variance[i], i)
		}
	}
}

// .ci/bench runs this benchmark beside PyTorch in float64, by its names.
func BenchmarkLayer(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range []struct{ batch, length, width, heads, kvHeads int }{
		{2, 1024, 768, 12, 12}, {1, 512, 2048, 32, 8},
	} {
		p := &oracle.Problem{Query: tensor(r, 1, 0, s.batch, s.length, s.width), Causal: causal}
		p.Key, p.Value = p.Query, p.Query
		e := s.width / s.heads
		p.Scale = 1 / math.Sqrt(float64(e))
		p.Layer = &oracle.Layer{Heads: s.heads, KVHeads: s.kvHeads}
		for i, m := range p.Layer.Projections() {
			out := s.width
			if i == 1 || i == 2 {
				out = s.kvHeads * e
			}
			*m = linear(r, 1/math.Sqrt(float64(s.width)), true, out, s.width)
		}
		b.Run(fmt.Sprintf("B%d_T%d_D%d_H%d_Hk%d", s.batch, s.length, s.width, s.heads, s.kvHeads), func(b *testing.B) {
			for b.Loop() {
				p.Run()
			}
		})
	}
}
