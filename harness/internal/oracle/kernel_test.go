package oracle_test

import (
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

// The result of a layer of this size shows how fast the oracle is: `go test -bench Layer`.
func BenchmarkLayer(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const batch, length, d, heads = 2, 1024, 768, 12
	p := &oracle.Problem{Query: tensor(r, 1, 0, batch, length, d), Scale: 0.125}
	p.Key, p.Value = p.Query, p.Query
	p.Layer = &oracle.Layer{Heads: heads, KVHeads: heads}
	for _, m := range p.Layer.Projections() {
		*m = linear(r, 0.036, true, d, d)
	}
	for name, causality := range map[string]func(query, key int) bool{"whole": nil, "causal": causal} {
		p.Causal = causality
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p.Run()
			}
		})
	}
}
