package diagnose

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// wide is large enough to be sampled: two heads of 1024 queries and keys.
func wide(change func(*oracle.Problem)) (*Reference, *oracle.Problem) {
	r := rand.New(rand.NewPCG(8, 8))
	random := func() oracle.Array {
		a := oracle.Array{Shape: []int{1, 2, 1024, 8}, Value: make([]float64, 2*1024*8)}
		for i := range a.Value {
			a.Value[i] = float64(float32(r.NormFloat64()))
		}
		return a
	}
	p := &oracle.Problem{Query: random(), Key: random(), Value: random(), Scale: 0.35, EmptyRow: attention.EmptyZero}
	change(p)
	return NewReference(p, p.Run().Expected()), p
}

func causal(p *oracle.Problem) { p.Causal = func(query, key int) bool { return key <= query } }

func diagnosed(ctx context.Context, r *Reference, got []float64) Diagnosis {
	return r.Diagnose(ctx, got, compare.Outputs(r.truth.Shape, got, r.truth))
}

// inFloat32 rounds to float32.
func inFloat32(f oracle.Field) []float64 {
	for i, v := range f.Value {
		f.Value[i] = float64(float32(v))
	}
	return f.Value
}

func TestALargeCaseIsSampled(t *testing.T) {
	r, p := wide(causal)
	require.True(t, r.sample.partial())
	require.Less(t, len(r.sample.rows), 40)
	require.Subset(t, r.sample.rows, []int{0, 1023, 1024, 2047}, "first and last query of both heads")
	p.Causal = nil
	d := diagnosed(t.Context(), r, inFloat32(p.Run()))
	require.Len(t, d.Matches, 1, d.Reasons)
	require.Equal(t, "causal-missing", d.Matches[0].ID())
}

// A mask that hides a key from one query alone, which is in no sample: that it is ignored is found out.
func TestAMistakeOutsideTheSampleIsNamed(t *testing.T) {
	r, p := wide(func(p *oracle.Problem) {
		causal(p)
		p.Block = attention.NewMask(1024, 1024)
		p.Block.Data[7*1024+3] = true
	})
	require.NotContains(t, r.sample.rows, 7)
	p.Block = nil
	d := diagnosed(t.Context(), r, inFloat32(p.Run()))
	require.Len(t, d.Matches, 1, d.Reasons)
	require.Equal(t, "mask-ignored", d.Matches[0].ID())
}

// An output that is a mistake's in every row of the sample, and in another one is not, gets no name.
func TestASampleDoesNotConfirm(t *testing.T) {
	for _, row := range []int{7, 500, 2000} { // the last one sees many keys, and is right as far as wrong rows are few
		r, p := wide(causal)
		require.NotContains(t, r.sample.rows, row)
		p.Causal = nil
		got := inFloat32(p.Run())
		got[row*8+1] += 1e-4
		d := diagnosed(t.Context(), r, got)
		require.Empty(t, d.Matches, "row %d", row)
		require.True(t, d.Unexplained)
	}
}

func TestInterruptedDiagnosis(t *testing.T) {
	p := &oracle.Problem{Scale: 0.5, EmptyRow: attention.EmptyZero}
	random := rand.New(rand.NewPCG(9, 9))
	for _, in := range []*oracle.Array{&p.Query, &p.Key, &p.Value} {
		*in = oracle.Array{Shape: []int{2, 2, 6, 4}, Value: make([]float64, 96)}
		for i := range in.Value {
			in.Value[i] = random.NormFloat64()
		}
	}
	causal(p)
	r := NewReference(p, p.Run().Expected())
	missing := p.Clone()
	missing.Causal = nil
	got := missing.Run().Value

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	d := diagnosed(ended, r, got)
	require.Equal(t, Unclear, d.Class)
	require.Contains(t, d.Reasons[0], fmt.Sprintf("interrupted: %d of %[1]d mistakes were not tried", len(catalogue.Mistakes)))
	requireNothingSaid(t, d)

	// It ends while mistakes are made: what is not known by then is made later.
	midway, cancel := context.WithCancel(t.Context())
	d = diagnosed(WithProgress(midway, func(p Progress) {
		if p.Done == 60 {
			cancel()
		}
	}), r, got)
	require.Regexp(t, `^interrupted: \d+ of \d+ mistakes were not tried`, d.Reasons[0])
	require.NotContains(t, d.Reasons[0], fmt.Sprintf(" %d of", len(catalogue.Mistakes)))
	requireNothingSaid(t, d)
	d = diagnosed(t.Context(), r, got)
	require.Len(t, d.Matches, 1)
	require.Equal(t, "causal-missing", d.Matches[0].ID())

	// It ends among the pairs.
	for i := range got {
		got[i] = 1.5*r.truth.Value[i] + 0.3*float64(i%3)
	}
	late, cancel := context.WithCancel(t.Context())
	d = diagnosed(WithProgress(late, func(p Progress) {
		if strings.Contains(p.Stage, "each other") {
			cancel()
		}
	}), r, got)
	require.Contains(t, d.Reasons[0], "interrupted: no known mistake alone gives this output; two at once were not all tried")
	require.Empty(t, d.Matches)
	require.False(t, d.Unexplained)
}

// requireNothingSaid wants no name, and no word that there is none.
func requireNothingSaid(t *testing.T, d Diagnosis) {
	t.Helper()
	require.Empty(t, d.Matches)
	require.False(t, d.Unexplained)
	require.NotContains(t, strings.Join(d.Reasons, "\n"), "no known mistake")
}

// The second of two mistakes may come after the context, which the first one changes.
func TestPairsWithWhatComesAfterTheContext(t *testing.T) {
	random := rand.New(rand.NewPCG(10, 10))
	values := func(n int) []float64 {
		all := make([]float64, n)
		for i := range all {
			all[i] = random.NormFloat64()
		}
		return all
	}
	linear := func() oracle.Linear {
		return oracle.Linear{Weight: values(144), Bias: values(12), In: 12, Out: 12}
	}
	x := oracle.Array{Shape: []int{3, 7, 12}, Value: values(3 * 7 * 12)}
	p := &oracle.Problem{Query: x, Key: x, Value: x, Scale: 0.2, Layer: &oracle.Layer{Heads: 3, KVHeads: 3, Query: linear(), Key: linear(), Value: linear(), Output: linear()}}
	causal(p)
	p = p.Cached() // it keeps its context
	r := NewReference(p, p.Run().Expected())
	for _, pair := range []string{
		"query-weight-transposed+output-bias-missing", "key-weight-transposed+heads-merge-untransposed",
		"output-weight-transposed+causal-missing", "heads-merge-untransposed+causal-missing", "query-weight-transposed+causal-missing",
	} {
		wrong := p.Clone()
		for id := range strings.SplitSeq(pair, "+") {
			m, _ := catalogue.ByID(id)
			require.True(t, m.Plant(wrong, nil))
		}
		d := diagnosed(t.Context(), r, inFloat32(wrong.Run()))
		require.True(t, slices.ContainsFunc(d.Matches, func(m Match) bool { return m.ID() == pair }), "%s: %s", pair, d.Reasons)
	}
}
