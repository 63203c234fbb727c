package subject_test

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/subject"
)

func TestRunGivesTheOutput(t *testing.T) {
	for _, name := range []string{"mha/padding", "sdpa/float-mask"} {
		c := harnesstest.ReadCase(t, name)
		right := harnesstest.SubjectOf(harnesstest.Layer{})
		right.SDPA = attention.SDPA
		r := right.Run(t.Context(), c)
		require.NoError(t, r.Err)
		require.Empty(t, r.Findings)
		require.Equal(t, c.Output.Shape, r.Output.Shape)
	}
}

func TestRunFindsBadBehaviour(t *testing.T) {
	calls := 0
	for _, tc := range []struct {
		name  string
		after func(in attention.Inputs, dict attention.StateDict, out *attention.Tensor)
		want  []string
	}{
		{
			"changes the query",
			func(in attention.Inputs, _ attention.StateDict, _ *attention.Tensor) { in.Query.Data[3]++ },
			[]string{
				"the subject changes its input key",
				"the subject changes its input query",
				"the subject changes its input value",
			},
		},
		{
			"changes the mask",
			func(in attention.Inputs, _ attention.StateDict, _ *attention.Tensor) { in.Padding.Data[0] = true },
			[]string{"the subject changes its mask padding"},
		},
		{
			"changes the state dict",
			func(_ attention.Inputs, d attention.StateDict, _ *attention.Tensor) { d["out_proj.bias"].Shape[0] = 7 },
			[]string{"the subject changes the state dict it loads: out_proj.bias"},
		},
		{
			"takes a key",
			func(_ attention.Inputs, d attention.StateDict, _ *attention.Tensor) { delete(d, "out_proj.bias") },
			[]string{
				"the subject changes the keys of the state dict it loads",
				"the subject changes the state dict it loads: out_proj.bias",
			},
		},
		{
			"answers differently",
			func(_ attention.Inputs, _ attention.StateDict, out *attention.Tensor) {
				calls++
				out.Data[0] += float32(calls)
			},
			[]string{"a second forward on the same inputs gives another output"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := harnesstest.SubjectOf(harnesstest.Layer{After: tc.after})
			r := s.Run(t.Context(), harnesstest.ReadCase(t, "mha/padding"))
			require.NoError(t, r.Err)
			require.Equal(t, tc.want, r.Findings)
		})
	}
}

// The attention weights must repeat as well, even if the output does.
func TestRunFindsUnsteadyWeights(t *testing.T) {
	c := harnesstest.ReadCase(t, "mha/weights")
	for _, tc := range []struct {
		name string
		add  float32
		want []string
	}{
		{"the same", 0, nil},
		{"others in the second run", 0.5, []string{subject.Unsteady}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var first *attention.Tensor
			r := subject.Subject{MHA: func(config attention.Config) (subject.Module, error) {
				m, err := attention.New(config)
				return &drifting{MultiHead: m, add: tc.add, first: &first}, err
			}}.Run(t.Context(), c)
			require.NoError(t, r.Err)
			require.Equal(t, tc.want, r.Findings)
			require.Equal(t, first, r.Weights, "the first weights are judged")
		})
	}
}

// drifting is a layer whose attention weights grow with each run. Its output stays the same.
type drifting struct {
	*attention.MultiHead
	add   float32
	runs  int
	first **attention.Tensor // a copy of the weights of the first run
}

func (d *drifting) Forward(in attention.Inputs) (attention.Outputs, error) {
	out, err := d.MultiHead.Forward(in)
	if err == nil {
		out.Weights.Data[0] += float32(d.runs) * d.add
		if d.runs == 0 {
			*d.first = out.Weights.Clone()
		}
		d.runs++
	}
	return out, err
}

func TestRunKeepsTheFirstOutput(t *testing.T) {
	shared := attention.NewTensor(5, 9, 40)
	r := harnesstest.SubjectOf(harnesstest.Layer{Instead: func(attention.Inputs) (*attention.Tensor, error) {
		shared.Data[0]++
		return shared, nil
	}}).Run(t.Context(), harnesstest.ReadCase(t, "mha/padding"))
	require.Equal(t, float32(1), r.Output.Data[0])
	require.Equal(t, []string{"a second forward on the same inputs gives another output"}, r.Findings)
}

func TestNaNIsTheSameNaN(t *testing.T) {
	r := harnesstest.SubjectOf(harnesstest.Layer{Instead: func(attention.Inputs) (*attention.Tensor, error) {
		return &attention.Tensor{Shape: []int{1}, Data: []float32{float32(math.NaN())}}, nil
	}}).Run(t.Context(), harnesstest.ReadCase(t, "mha/padding"))
	require.NoError(t, r.Err)
	require.Empty(t, r.Findings)
}

func TestRunReportsErrors(t *testing.T) {
	boom := errors.New("boom")
	instead := func(forward func(attention.Inputs) (*attention.Tensor, error)) subject.Subject {
		return harnesstest.SubjectOf(harnesstest.Layer{Instead: forward})
	}
	giving := func(out *attention.Tensor, err error) subject.Subject {
		return instead(func(attention.Inputs) (*attention.Tensor, error) { return out, err })
	}
	calls := 0
	for _, tc := range []struct {
		name    string
		subject subject.Subject
		want    string
	}{
		{"panic", instead(func(attention.Inputs) (*attention.Tensor, error) { panic("kaboom") }), "panic: kaboom"},
		{"maker", subject.Subject{MHA: func(attention.Config) (subject.Module, error) {
			return nil, boom
		}}, "make the layer: boom"},
		{"load", harnesstest.SubjectOf(harnesstest.Layer{
			OnLoad: func(attention.StateDict) error { return boom },
		}), "load the state dict: boom"},
		{"forward", giving(nil, boom), "forward: boom"},
		{"no output", giving(nil, nil), "output: no tensor"},
		{
			"short output", giving(&attention.Tensor{Shape: []int{2}, Data: []float32{1}}, nil),
			"output: shape (2,) needs 2 elements, the data has 1",
		},
		{"second forward", instead(func(attention.Inputs) (*attention.Tensor, error) {
			calls++
			if calls > 1 {
				return nil, boom
			}
			return attention.NewTensor(1), nil
		}), "second forward: forward: boom"},
		{"not offered", subject.Subject{SDPA: attention.SDPA}, subject.ErrNotOffered.Error()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := tc.subject.Run(t.Context(), harnesstest.ReadCase(t, "mha/padding"))
			require.ErrorContains(t, r.Err, tc.want)
			require.Nil(t, r.Output)
		})
	}
	r := subject.Subject{}.Run(t.Context(), harnesstest.ReadCase(t, "sdpa/causal"))
	require.ErrorIs(t, r.Err, subject.ErrNotOffered)
}

// A subject cannot reach the case itself, whatever it does.
func TestRunProtectsTheCase(t *testing.T) {
	c := harnesstest.ReadCase(t, "sdpa/float-mask")
	before := c.Options.Bias.Clone()
	r := subject.Subject{SDPA: func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		out, err := attention.SDPA(q, k, v, o)
		clear(o.Bias.Data)
		clear(q.Data)
		return out, err
	}}.Run(t.Context(), c)
	require.NoError(t, r.Err)
	require.Equal(t, []string{"the subject changes its input query", "the subject changes its option bias"}, r.Findings)
	require.True(t, before.Data[0] == c.Options.Bias.Data[0] && c.Inputs.Query.Data[0] != 0)
}

func TestRunProtectsTheMasksOfALayer(t *testing.T) {
	c := *harnesstest.ReadCase(t, "mha/padding")
	c.Inputs.Block = attention.NewMask(9, 9)
	r := harnesstest.SubjectOf(harnesstest.Layer{
		After: func(in attention.Inputs, _ attention.StateDict, _ *attention.Tensor) { in.Block.Data[3] = true },
	}).Run(t.Context(), &c)
	require.NoError(t, r.Err)
	require.Equal(t, []string{"the subject changes its mask block"}, r.Findings)
	require.False(t, c.Inputs.Block.Data[3])
}

func TestRunProtectsTheMaskOfSDPA(t *testing.T) {
	c := harnesstest.ReadCase(t, "sdpa/bool-mask")
	r := subject.Subject{SDPA: func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		out, err := attention.SDPA(q, k, v, o)
		o.Allow.Data[0] = !o.Allow.Data[0]
		return out, err
	}}.Run(t.Context(), c)
	require.NoError(t, r.Err)
	require.Len(t, r.Findings, 1) // two runs restore the mask, but the second output differs
}
