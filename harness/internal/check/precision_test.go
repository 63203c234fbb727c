package check

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
	"github.com/difftest/difftest/harness/internal/variant"
)

// low is a subject that rounds its inputs, parameters and outputs to bfloat16.
func low(of subject.Subject) subject.Subject {
	return subject.Subject{
		Name: "low",
		SDPA: func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
			out, err := of.SDPA(stored(q), stored(k), stored(v), o)
			return stored(out), err
		},
		MHA: func(c attention.Config) (subject.Module, error) {
			m, err := of.MHA(c)
			return lowModule{m}, err
		},
	}
}

type lowModule struct{ subject.Module }

func (m lowModule) LoadStateDict(dict attention.StateDict, s attention.Strictness) (attention.IncompatibleKeys, error) {
	rounded := attention.StateDict{}
	for key, t := range dict {
		rounded[key] = stored(t)
	}
	return m.Module.LoadStateDict(rounded, s)
}

func (m lowModule) Forward(in attention.Inputs) (attention.Outputs, error) {
	for _, t := range []**attention.Tensor{&in.Query, &in.Key, &in.Value, &in.PastKey, &in.PastValue} {
		*t = stored(*t)
	}
	out, err := m.Module.Forward(in)
	return attention.Outputs{Output: stored(out.Output), Weights: stored(out.Weights)}, err
}

func stored(t *attention.Tensor) *attention.Tensor {
	t = t.Clone()
	if t != nil {
		for i, v := range t.Data {
			t.Data[i] = variant.BFloat16(v)
		}
	}
	return t
}

// A bfloat16 subject passes every case if it declares its precision. If it does not, it passes only
// the cases in bfloat16.
func TestDeclaredPrecision(t *testing.T) {
	cases := []string{"sdpa/causal", "sdpa/bfloat16", "mha/weights-per-head", "decoder/gemma", "mha/bias-kv"}
	if campaign.Full() {
		cases = append(cases, "sdpa/gqa", "sdpa/sinks", "mha/causal-left-padding", "decoder/relative-bias")
	}
	s := low(harnesstest.BuiltIn())
	r, err := Check(t.Context(), fixtures.FS, s, cases...)
	require.NoError(t, err)
	require.Equal(t, len(cases)-1, r.Count(report.Fail))
	require.Empty(t, r.Precision)

	s.Precision = subject.BFloat16
	r, err = Check(t.Context(), fixtures.FS, s, cases...)
	require.NoError(t, err)
	require.Equal(t, "bfloat16", r.Precision)
	for _, result := range r.Results {
		require.Equal(t, report.Pass, result.Verdict, "%s: %v", result.Case, result.Findings)
		if result.Case != "sdpa/bfloat16" {
			// The tolerance is not generous: the subject uses a good part of it.
			require.Greater(t, result.Comparison.RMSZ, 0.05, result.Case)
		}
	}

	// float16 has an eighth of the noise, and TF32 does not round the inputs' storage.
	for _, p := range []subject.Precision{subject.Float16, subject.TF32} {
		s.Precision = p
		r, err = Check(t.Context(), fixtures.FS, s, "sdpa/causal", "decoder/gemma")
		require.NoError(t, err)
		require.Equal(t, 2, r.Count(report.Fail), p)
	}
}

// A mistake is found beside the noise of the declared precision.
func TestMistakesInADeclaredPrecision(t *testing.T) {
	wrong := low(harnesstest.BuiltIn())
	wrong.Precision = subject.BFloat16
	right := wrong.SDPA
	wrong.SDPA = func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		o.Causality = attention.NotCausal
		return right(q, k, v, o)
	}
	r, err := Check(t.Context(), fixtures.FS, wrong, "sdpa/causal")
	require.NoError(t, err)
	d := r.Results[0].Diagnosis
	require.Equal(t, diagnose.MissingFeature, d.Class)
	require.Len(t, d.Matches, 1)
	require.Equal(t, "causal-missing", d.Matches[0].ID())
}

func TestUnknownPrecisions(t *testing.T) {
	s := harnesstest.BuiltIn()
	s.Precision = "double"
	_, err := Check(t.Context(), fixtures.FS, s, "sdpa/causal")
	require.EqualError(t, err, `precision: "double", want one of ["float16" "bfloat16" "tf32"], or nothing for float32`)
}
