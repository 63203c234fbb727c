package causes_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// function is scaled_dot_product_attention with changed options. The scale is always given.
func function(change func(q *attention.Tensor, o *attention.SDPAOptions)) subject.Subject {
	return subject.Subject{SDPA: func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		if o.Scale == 0 {
			o.Scale = 1 / math.Sqrt(float64(q.Shape[len(q.Shape)-1]))
		}
		change(q, &o)
		return attention.SDPA(q, k, v, o)
	}}
}

func checked(t *testing.T, s subject.Subject, cases ...string) *report.Report {
	t.Helper()
	r, err := check.Check(t.Context(), fixtures.FS, s, cases...)
	require.NoError(t, err)
	return r
}

// jointIDs returns the ids of the explanations by several parts, by case. The diagnosis finds a
// number and a mistake on a small case by itself.
func jointIDs(r *report.Report) map[string][]string {
	ids := map[string][]string{}
	for _, result := range r.Results {
		for _, j := range result.Joint {
			ids[result.Case] = append(ids[result.Case], j.ID())
		}
		for _, n := range result.Diagnosis.Numbers {
			if len(n.With) > 0 {
				ids[result.Case] = append(ids[result.Case], strings.Join(n.IDs(), "+"))
			}
		}
	}
	return ids
}

// A wrong number that some cases show alone is tried on the others, together with each mistake and
// with each other number.
func TestTwoThingsWrongAtOnce(t *testing.T) {
	campaign.SkipShort(t)
	masked := []string{"sdpa/causal", "sdpa/causal-rectangular"}
	r := checked(t, function(func(_ *attention.Tensor, o *attention.SDPAOptions) {
		o.Scale *= 1.5
		o.Causality = attention.NotCausal
	}), slices.Concat([]string{"sdpa/unmasked", "sdpa/gqa"}, masked)...)
	require.Equal(t, []string{"scale", "causal-missing"}, causeIDs(r.Causes))
	const title = "the scale of the scores is 0.474342 where it should be 0.316228, 1.5 times as large"
	require.Equal(t, title, r.Causes[0].Title)
	require.Len(t, r.Causes[0].Failures, 4)
	require.Equal(t, masked, r.Causes[1].Failures)
	require.Equal(t, map[string][]string{
		masked[0]: {"scale+causal-missing"}, masked[1]: {"scale+causal-missing"},
	}, jointIDs(r))
	require.Empty(t, r.Shared)

	r = checked(t, function(func(_ *attention.Tensor, o *attention.SDPAOptions) {
		o.Scale *= 0.7
		if o.Window > 0 {
			o.Window += 2
		}
	}), "sdpa/unmasked", "sdpa/scale", "sdpa/window", "sdpa/window-gqa")
	require.Equal(t, []string{"scale", "window"}, causeIDs(r.Causes))
	require.Equal(t, []string{"sdpa/window", "sdpa/window-gqa"}, r.Causes[1].Failures)
}

// A number explains another failure within its noise, or not at all.
func TestANumberDoesNotExplainAnotherFault(t *testing.T) {
	campaign.SkipShort(t)
	r := checked(t, function(func(q *attention.Tensor, o *attention.SDPAOptions) {
		o.Scale *= 1.5
		if o.Window > 0 { // a fault that is no mistake of the catalogue
			o.Scale *= 1 + float64(q.Data[0])/100
			o.Softcap = 0.9
		}
	}), "sdpa/unmasked", "sdpa/gqa", "sdpa/window", "sdpa/window-gqa")
	require.Equal(t, []string{"scale"}, causeIDs(r.Causes))
	require.Equal(t, []string{"sdpa/unmasked", "sdpa/gqa"}, r.Causes[0].Failures)
	require.Empty(t, jointIDs(r))
}

// An output near the computation with a number, and outside its noise, is not explained by it.
func TestANumberExplainsWithinItsNoise(t *testing.T) {
	scaled := function(func(_ *attention.Tensor, o *attention.SDPAOptions) { o.Scale *= 1.5 })
	s := subject.Subject{SDPA: func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		out, err := scaled.SDPA(q, k, v, o)
		if err == nil && o.Window > 0 {
			for i := range out.Data {
				out.Data[i] *= 1 + 1e-4*float32(i%3)
			}
		}
		return out, err
	}}
	r := checked(t, s, "sdpa/unmasked", "sdpa/gqa", "sdpa/window")
	require.Equal(t, []string{"scale"}, causeIDs(r.Causes))
	require.Equal(t, []string{"sdpa/unmasked", "sdpa/gqa"}, r.Causes[0].Failures)
	require.Empty(t, jointIDs(r))
}

// One rule explains cases on which a mistake gives the same output, and the mistake is ruled out by
// a case that passes.
func TestARuleExplainsMoreThanAMistake(t *testing.T) {
	cases := []string{"sdpa/scale", "sdpa/unmasked", "sdpa/gqa", "sdpa/scale-one"}
	if campaign.Full() {
		cases = append(cases, "sdpa/causal", "sdpa/softcap", "sdpa/no-batch")
	}
	r := checked(t, function(func(_ *attention.Tensor, o *attention.SDPAOptions) {
		o.Scale = math.Sqrt(o.Scale)
	}), cases...)
	require.Equal(t, []string{"scale"}, causeIDs(r.Causes))
	require.Equal(t, "the scale of the scores is the square root of the right one", r.Causes[0].Title)
	require.Equal(t, named(r.Results, report.Result.Wrong), r.Causes[0].Failures)
	require.True(t, r.Results[3].Right())
	for _, result := range r.Results {
		require.Empty(t, result.Possible(), result.Case)
	}
}
