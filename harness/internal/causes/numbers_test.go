package causes_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// withBase is a subject whose layers rotate with another base.
func withBase(change func(right float64) float64) subject.Subject {
	s := harnesstest.BuiltIn()
	s.MHA = func(c attention.Config) (subject.Module, error) {
		if c.RoPE != nil {
			rope := *c.RoPE
			rope.Base = change(rope.Base)
			c.RoPE = &rope
		}
		return attention.New(c)
	}
	return s
}

// A number that is wrong in several cases is one cause, with the rule that its values follow. Cases
// without the number do not contradict it.
func TestAWrongNumberIsOneCause(t *testing.T) {
	campaign.SkipShort(t)
	for _, tc := range []struct {
		title  string
		change func(float64) float64
	}{
		{"the RoPE base is 3 times as large as it should be", func(b float64) float64 { return 3 * b }},
		{"the RoPE base is 70000 in every case", func(float64) float64 { return 70000 }},
	} {
		t.Run(tc.title, func(t *testing.T) {
			r, err := check.Check(t.Context(), fixtures.FS, withBase(tc.change),
				"decoder/rope-half", "decoder/rope-interleaved",
				"decoder/nope", "decoder/alibi", "mha/causal", "sdpa/causal")
			require.NoError(t, err)
			wrong := []string{"decoder/rope-half", "decoder/rope-interleaved"}
			require.ElementsMatch(t, wrong, named(r.Results, report.Result.Wrong))
			require.Len(t, r.Causes, 1)
			c := r.Causes[0]
			require.Equal(t, "rope-base", c.ID)
			require.Equal(t, tc.title, c.Title)
			require.ElementsMatch(t, wrong, c.Failures)
			require.Empty(t, c.Contradictions)
			require.Equal(t, 4, c.Passes)
			require.NotEmpty(t, c.Fix)
		})
	}
}

// A case that has the number and passes contradicts the cause.
func TestAWrongNumberIsContradicted(t *testing.T) {
	s := harnesstest.BuiltIn()
	s.MHA = func(c attention.Config) (subject.Module, error) {
		if c.RoPE != nil && c.QKNorm == nil {
			rope := *c.RoPE
			rope.Base = 70000
			c.RoPE = &rope
		}
		return attention.New(c)
	}
	r, err := check.Check(t.Context(), fixtures.FS, s, "decoder/rope-half", "decoder/qk-norm", "mha/causal")
	require.NoError(t, err)
	require.Equal(t, []string{"decoder/rope-half"}, named(r.Results, report.Result.Wrong))
	require.Len(t, r.Causes, 1)
	require.Equal(t, []string{"decoder/qk-norm"}, r.Causes[0].Contradictions)
}

// Another scale is a cause with a name that can be explained, and no parameter's.
func TestAnotherScaleIsACause(t *testing.T) {
	s := harnesstest.BuiltIn()
	right := s.SDPA
	s.SDPA = func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		if o.Scale == 0 {
			o.Scale = 1 / math.Sqrt(float64(q.Shape[len(q.Shape)-1]))
		}
		o.Scale *= 1.7
		return right(q, k, v, o)
	}
	r, err := check.Check(t.Context(), fixtures.FS, s, "sdpa/causal", "sdpa/gqa", "mha/causal")
	require.NoError(t, err)
	require.Len(t, r.Causes, 1)
	require.Equal(t, "scale", r.Causes[0].ID)
	require.Equal(t, []string{"sdpa/causal", "sdpa/gqa"}, r.Causes[0].Failures)
	require.Equal(t, []string{"mha/causal"}, r.Causes[0].Contradictions, "a layer has a scale, too")
	_, ok := catalogue.NumberByID(r.Causes[0].ID)
	require.True(t, ok)
}
