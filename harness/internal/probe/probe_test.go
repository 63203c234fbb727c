package probe_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/probe"
	"github.com/difftest/difftest/harness/internal/subject"
	"github.com/difftest/difftest/harness/internal/variant"
)

func run(s subject.Subject, c *fixture.Case) subject.Result { return s.Run(context.Background(), c) }

// oneByOne is an implementation that makes a fresh layer for every run.
type oneByOne func(*fixture.Case) *attention.Tensor

func (f oneByOne) Series(_ context.Context, cases ...*fixture.Case) (outputs []*attention.Tensor, err error) {
	for _, c := range cases {
		outputs = append(outputs, f(c))
	}
	return outputs, nil
}

// ofVariant is an implementation that shares no arithmetic with the attention package.
func ofVariant(v variant.Variant) subject.Live {
	return oneByOne(func(c *fixture.Case) *attention.Tensor {
		p := oracle.FromCase(c)
		values := oracle.FromBatchFirst(c.Layer.InputLayout, oracle.Array{Shape: p.Run().Shape, Value: v.Run(p)})
		out, err := attention.FromFloat64(c.Output.Shape, values.Value)
		if err != nil {
			panic(err)
		}
		return out
	})
}

// unsteady is right except for rounding errors, which change in all places with every input.
func unsteady(c *fixture.Case) *attention.Tensor {
	out := run(harnesstest.BuiltIn(), c).Output
	sum := 0.0
	for _, t := range []*attention.Tensor{c.Inputs.Query, c.Inputs.Key, c.Inputs.Value} {
		for i, v := range t.Data {
			sum += float64(v) * float64(1+i%7)
		}
	}
	for i := range out.Data {
		sum = math.Mod(sum*1.7+0.1, 1)
		out.Data[i] *= 1 + float32(sum)*1e-6
	}
	return out
}

// quantized rounds each input to 8 bits, scaled by the largest value in the whole tensor.
func quantized(c *fixture.Case) *attention.Tensor {
	own := *c
	for _, t := range []**attention.Tensor{&own.Inputs.Query, &own.Inputs.Key, &own.Inputs.Value} {
		top := 0.0
		for _, v := range (*t).Data {
			top = max(top, math.Abs(float64(v)))
		}
		*t = (*t).Clone()
		for i, v := range (*t).Data {
			(*t).Data[i] = float32(math.Round(float64(v)/top*127) / 127 * top)
		}
	}
	return run(harnesstest.BuiltIn(), &own).Output
}

// A correct subject is never caught at anything, however it adds and rounds.
func TestCorrectSubjectsAreNeverCaught(t *testing.T) {
	names := harnesstest.AttentionCases(t)
	for number, tc := range []struct {
		name string
		live subject.Live
	}{
		{"attention", harnesstest.BuiltIn()},
		{"attention one by one", oneByOne(func(c *fixture.Case) *attention.Tensor {
			return run(harnesstest.BuiltIn(), c).Output
		})},
		{"sequential", ofVariant(variant.Variant{})},
		{"online softmax", ofVariant(variant.Variant{Tile: 3, FusedScale: true, Dot: variant.Pairwise})},
		{"bfloat16", ofVariant(variant.Variant{Store: variant.BFloat16})},
		{"unsteady", oneByOne(unsteady)},
		{"quantized", oneByOne(quantized)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for n, name := range names {
				if !campaign.Full() && number > 0 && n%8 != number {
					continue
				}
				c := harnesstest.ReadCase(t, name)
				if c.Op == fixture.Rotary {
					continue // no probe changes tables
				}
				out, err := tc.live.Series(t.Context(), c)
				require.NoError(t, err)
				require.Empty(t, probe.Probes(t.Context(), tc.live, c, out[0]), name)
			}
		})
	}
}

// layers is a subject whose layers are wrong in one way. wrong is called twice: with a nil layer it
// may change the configuration, and with the layer it may return another module.
func layers(wrong func(c *attention.Config, m *attention.MultiHead) subject.Module) subject.Subject {
	return subject.Subject{MHA: func(c attention.Config) (subject.Module, error) {
		own := c
		wrong(&own, nil)
		m, err := attention.New(own)
		if err != nil {
			return nil, err
		}
		if w := wrong(&c, m); w != nil {
			return w, nil
		}
		return m, nil
	}}
}

// configured is a subject whose layers have another configuration than the case asks for.
func configured(change func(c *attention.Config)) subject.Subject {
	return layers(func(c *attention.Config, _ *attention.MultiHead) subject.Module {
		change(c)
		return nil
	})
}

// forwarding is a subject whose layers have their own Forward.
func forwarding(forward func(m *attention.MultiHead, in attention.Inputs) (attention.Outputs, error)) subject.Subject {
	return layers(func(_ *attention.Config, m *attention.MultiHead) subject.Module {
		if m == nil {
			return nil
		}
		return forwarder{m, forward}
	})
}

type forwarder struct {
	*attention.MultiHead
	forward func(m *attention.MultiHead, in attention.Inputs) (attention.Outputs, error)
}

func (f forwarder) Forward(in attention.Inputs) (attention.Outputs, error) {
	return f.forward(f.MultiHead, in)
}

// after is a subject whose layers change their output in the end.
func after(change func(in attention.Inputs, out []float32)) subject.Subject {
	return forwarding(func(m *attention.MultiHead, in attention.Inputs) (attention.Outputs, error) {
		out, err := m.Forward(in)
		if err == nil {
			change(in, out.Output.Data)
		}
		return out, err
	})
}

// keeping is a subject whose layers ignore the loaded values of some parameters.
func keeping(keys ...string) subject.Subject {
	return layers(func(_ *attention.Config, m *attention.MultiHead) subject.Module {
		if m == nil {
			return nil
		}
		return forgetful{m, keys}
	})
}

type forgetful struct {
	*attention.MultiHead
	keys []string
}

func (f forgetful) LoadStateDict(dict attention.StateDict, s attention.Strictness) (attention.IncompatibleKeys, error) {
	for _, key := range f.keys {
		for i := range dict[key].Data {
			dict[key].Data[i] = float32(i%5) / 8
		}
	}
	return f.MultiHead.LoadStateDict(dict, s)
}

func function(f func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error)) subject.Subject {
	return subject.Subject{SDPA: f}
}

// drawnAnew is a subject that loads nothing, and draws other weights for each layer.
func drawnAnew() subject.Subject {
	made := 0
	return subject.Subject{MHA: func(c attention.Config) (subject.Module, error) {
		made++
		m, err := attention.New(c)
		if err != nil {
			return nil, err
		}
		dict := m.StateDict()
		for _, t := range dict {
			for i := range t.Data {
				t.Data[i] = float32(math.Sin(float64(made*1000+i*i))) / 4
			}
		}
		_, err = m.LoadStateDict(dict, attention.Strict)
		return &harnesstest.Layer{MultiHead: m, OnLoad: func(attention.StateDict) error { return nil }}, err
	}}
}

// causalUpTo is a function whose query i sees the keys up to i+ahead.
func causalUpTo(ahead int) subject.Subject {
	return function(func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		l, s := q.Shape[len(q.Shape)-2], k.Shape[len(k.Shape)-2]
		o.Allow, o.Causality = attention.NewMask(l, s), attention.NotCausal
		for i := range l {
			for j := range min(i+ahead+1, s) {
				o.Allow.Data[i*s+j] = true
			}
		}
		return attention.SDPA(q, k, v, o)
	})
}

// withoutMask is a subject whose layers drop a mask from their inputs.
func withoutMask(drop func(in *attention.Inputs)) subject.Subject {
	return forwarding(func(m *attention.MultiHead, in attention.Inputs) (attention.Outputs, error) {
		drop(&in)
		return m.Forward(in)
	})
}

// addingFirst is a function that adds its first size(shape) outputs to the next ones.
func addingFirst(size func(shape []int) int) subject.Subject {
	return function(func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		out, err := attention.SDPA(q, k, v, o)
		n := size(out.Shape)
		for i := range n {
			out.Data[n+i] += out.Data[i]
		}
		return out, err
	})
}

func ofAHead(shape []int) int     { return shape[2] * shape[3] }
func ofAnElement(shape []int) int { return shape[1] * shape[2] * shape[3] }

func noPadding(in *attention.Inputs) { in.Padding = nil }
func noBlock(in *attention.Inputs)   { in.Block = nil }
func noBias(in *attention.Inputs)    { in.Bias = nil }

// onlyItself hides all tokens but a row's own.
func onlyItself(in *attention.Inputs) {
	n := in.Query.Shape[1]
	in.Padding, in.Block = nil, attention.NewMask(n, n)
	for i := range in.Block.Data {
		in.Block.Data[i] = i/n != i%n
	}
}

func TestProbesCatch(t *testing.T) {
	const toTheBit = "the output is the same to the bit"
	type texts map[string]string // a part of the text of each probe that finds something
	for _, tc := range []struct {
		name    string
		subject subject.Subject
		on      string
		want    texts
	}{
		{"never loaded", harnesstest.NeverLoaded(), "mha/padding", texts{
			"load-no-effect": "loaded with other weights the layer gives the same output, to the bit, " +
				"and with other inputs another: the load had no effect",
		}},
		{"never loaded, no causal mask", harnesstest.Both(), "mha/causal-left-padding", texts{
			"load-no-effect": "the load had no effect",
			"future-token": "row 0 of batch 0 changes when token 8 does, which the causal mask hides from it; " +
				"of 8 such rows 7 change, by up to 1.2 of the output's size; " +
				"asked for without the causal mask, " + toTheBit,
		}},
		{"never loaded, drawn anew", drawnAnew(), "mha/causal", texts{
			"fresh-layer":    "a second layer, made and loaded in the same way, gives another output",
			"load-no-effect": "the load had no effect",
		}},
		{"no causal mask", harnesstest.Unmasked(), "mha/sequence-first", texts{
			"future-token": "of 8 such rows 8 change",
		}},
		{"no causal mask, one sequence", harnesstest.Unmasked(), "mha/unbatched", texts{
			"future-token": "asked for without the causal mask, " + toTheBit,
		}},
		{"no causal mask, a cache", harnesstest.Unmasked(), "decoder/cache", texts{
			"future-token": "asked for without the causal mask, " + toTheBit,
		}},
		{"no causal mask, a function", function(
			func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
				o.Causality = attention.NotCausal
				return attention.SDPA(q, k, v, o)
			}), "sdpa/causal", texts{
			"future-token": "row 0 of head [0, 0] changes when token 8 does",
		}},
		{"one key too many", causalUpTo(1), "sdpa/causal", texts{
			"future-token": "row 7 of head [0, 0] changes when token 8 does, which the causal mask hides from it; " +
				"of 8 such rows 1 change",
		}},
		{"no window", configured(func(c *attention.Config) { c.Window = 0 }), "decoder/window", texts{
			"window-token": "asked for without the window, " + toTheBit,
		}},
		{"no padding mask", withoutMask(noPadding), "mha/padding", texts{
			"padded-token": "asked for without the padding mask, " + toTheBit,
		}},
		{"no padding mask, causal", withoutMask(noPadding), "mha/causal-left-padding", texts{
			"padded-token": "asked for without the padding mask, " + toTheBit,
		}},
		{"no block", withoutMask(noBlock), "mha/block", texts{
			"masked-token": "asked for without the mask, " + toTheBit,
		}},
		{"no -inf", withoutMask(noBias), "mha/float-mask", texts{
			"masked-token": "asked for without -inf in the additive mask, " + toTheBit,
		}},
		{"no mask, a function", function(
			func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
				o.Allow = nil
				return attention.SDPA(q, k, v, o)
			}), "sdpa/bool-mask", texts{
			"masked-token": "asked for without the mask, " + toTheBit,
		}},
		{"a residual", after(func(in attention.Inputs, out []float32) {
			for i := range out {
				out[i] += in.Query.Data[i]
			}
		}), "mha/padding", texts{
			"output-scale": "the weight and bias of the output projection, doubled, " +
				"double the output but for the query: it is added after them",
		}},
		{"something added", after(func(_ attention.Inputs, out []float32) {
			for i := range out {
				out[i] += 0.5
			}
		}), "mha/padding", texts{
			"output-scale": "of it is not doubled",
		}},
		{"no output projection", keeping("W_O"), "seed/causal", texts{
			"parameter-no-effect": "loaded with other values of W_O the layer gives the same output, to the bit",
			"output-scale": "the weight and bias of the output projection, doubled, " +
				"give the same output, to the bit",
		}},
		{"no queries and keys", keeping("W_Q", "W_K"), "seed/causal", texts{
			"parameter-no-effect": "loaded with other values of W_K, or of W_Q the layer",
		}},
		{"no bias of keys", keeping("k_proj.bias"), "layouts/llama-biases", texts{}},
		{"no bias of keys that are rotated", keeping("k_proj.bias"), "decoder/qwen-biases", texts{
			"parameter-no-effect": "other values of k_proj.bias the layer",
		}},
		{"squared values", function(
			func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
				for i := range v.Data {
					v.Data[i] *= v.Data[i]
				}
				return attention.SDPA(q, k, v, o)
			}), "sdpa/causal", texts{
			"value-scale": "the values, doubled, make the output 4 times as large",
		}},
		{"batches mixed", after(func(in attention.Inputs, out []float32) {
			for i := range out[:len(out)/in.Query.Shape[0]] {
				out[len(out)-1-i] += out[i]
			}
		}), "mha/padding", texts{
			"batch": "batch element 0 change, and with them 9 of 36 rows of other batch elements, by up to",
		}},
		{"batches of a function mixed", addingFirst(ofAnElement), "sdpa/causal", texts{
			"batch": "rows of other batch elements",
		}},
		{"heads mixed", addingFirst(ofAHead), "sdpa/causal", texts{
			"heads": "the queries of head 0 change, and with them",
		}},
		{"constant", after(func(_ attention.Inputs, out []float32) { clear(out) }), "mha/padding", texts{
			"input-no-effect": "other inputs give the same output, to the bit",
		}},
		{"itself alone", withoutMask(onlyItself), "mha/unmasked", texts{
			"token-no-effect": "token 0 changes, and none of the 8 rows of other tokens that see it does, to the bit",
		}},
		{"remembers", remembering(), "mha/padding", texts{
			"history": "after other inputs were run the same inputs give another output",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := harnesstest.ReadCase(t, tc.on)
			r := run(tc.subject, c)
			require.NoError(t, r.Err)
			said := texts{}
			for _, p := range probe.Probes(t.Context(), tc.subject, c, r.Output) {
				said[p.ID] = p.Text
				require.NotEmpty(t, p.Title)
				if _, ok := tc.want[p.ID]; !ok {
					t.Errorf("%s: %s", p.ID, p.Text)
				}
			}
			for id, want := range tc.want {
				require.Contains(t, said, id)
				require.Contains(t, said[id], want)
			}
		})
	}
}

// If every row sees one key, a right output depends on no query and no key.
func TestAWindowOfOneKey(t *testing.T) {
	c := *harnesstest.ReadCase(t, "seed/causal")
	c.Layer.Window = 1
	r := run(harnesstest.BuiltIn(), &c)
	require.NoError(t, r.Err)
	require.Empty(t, probe.Probes(t.Context(), harnesstest.BuiltIn(), &c, r.Output))
}

// A token that two masks hide proves nothing about one of them, so another token is taken.
func TestALeakIsLookedForWhereOneMaskHides(t *testing.T) {
	c := *harnesstest.ReadCase(t, "mha/causal")
	c.Inputs.Padding = attention.NewMask(5, 9)
	for i := range c.Inputs.Padding.Data {
		c.Inputs.Padding.Data[i] = i%9 >= 6
	}
	s := harnesstest.Unmasked()
	r := run(s, &c)
	require.NoError(t, r.Err)
	probes := probe.Probes(t.Context(), s, &c, r.Output)
	require.Len(t, probes, 1)
	require.Contains(t, probes[0].Text, "row 0 of batch 0 changes when token 5 does, "+
		"which the causal mask hides from it; of 5 such rows 5 change")
}

// remembering is a subject whose layers add a number of the previous inputs to the output.
func remembering() subject.Subject {
	return layers(func(_ *attention.Config, m *attention.MultiHead) subject.Module {
		if m == nil {
			return nil
		}
		var now, before float32
		return forwarder{m, func(m *attention.MultiHead, in attention.Inputs) (attention.Outputs, error) {
			out, err := m.Forward(in)
			if err == nil {
				if v := in.Query.Data[0]; v != now {
					now, before = v, now
				}
				for i := range out.Output.Data {
					out.Output.Data[i] += before
				}
			}
			return out, err
		}}
	})
}

// On every case that has parameters, a layer that was never loaded is caught at that, and at
// nothing else.
func TestEveryCaseSeesALoadThatNeverHappened(t *testing.T) {
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	n := 0
	for _, name := range names {
		c := harnesstest.ReadCase(t, name)
		if c.Op != fixture.MultiHead {
			continue
		}
		n++
		if !campaign.Full() && n%3 != 1 {
			continue
		}
		for _, s := range []subject.Subject{harnesstest.NeverLoaded(), drawnAnew()} {
			r := run(s, c)
			require.NoError(t, r.Err)
			var ids []string
			for _, p := range probe.Probes(t.Context(), s, c, r.Output) {
				if p.ID != "fresh-layer" {
					ids = append(ids, p.ID)
				}
			}
			require.Equal(t, []string{"load-no-effect"}, ids, name)
		}
	}
	require.Greater(t, n, 100)
}

// A run that the subject refuses proves nothing.
func TestProbesAreSilentOnErrors(t *testing.T) {
	c := harnesstest.ReadCase(t, "mha/causal")
	for name, fail := range map[string]func(){
		"panics": func() { panic("kaboom") }, "refuses": func() {},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			s := harnesstest.Unmasked()
			make := s.MHA
			s.MHA = func(config attention.Config) (subject.Module, error) {
				calls++
				if calls > 2 {
					fail()
					return nil, errors.New("no more layers")
				}
				return make(config)
			}
			r := run(s, c)
			require.NoError(t, r.Err)
			require.Empty(t, probe.Probes(t.Context(), s, c, r.Output))
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := run(harnesstest.Unmasked(), c)
	require.Empty(t, probe.Probes(ctx, harnesstest.Unmasked(), c, r.Output))
	require.Empty(t, probe.Probes(t.Context(), harnesstest.Unmasked(), c, attention.NewTensor(3)))
	module := &fixture.Case{Op: fixture.Module}
	require.Empty(t, probe.Probes(t.Context(), harnesstest.Unmasked(), module, r.Output))
}
