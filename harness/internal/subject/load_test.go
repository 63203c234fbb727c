package subject_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/subject"
	"github.com/difftest/difftest/harness/internal/variant"
)

func run(s subject.Subject, c *fixture.Case) subject.Result { return s.Run(context.Background(), c) }

// holder is a right layer with the answers that a test gives it.
type holder struct {
	*attention.MultiHead
	// answer changes what StateDict returns after the load; nil changes nothing.
	answer func(d attention.StateDict) attention.StateDict
	keys   attention.IncompatibleKeys // that LoadStateDict returns
	loaded *bool
}

func (h holder) LoadStateDict(dict attention.StateDict, s attention.Strictness) (attention.IncompatibleKeys, error) {
	*h.loaded = true
	_, err := h.MultiHead.LoadStateDict(dict, s)
	return h.keys, err
}

func (h holder) StateDict() attention.StateDict {
	d := h.MultiHead.StateDict()
	if *h.loaded && h.answer != nil {
		return h.answer(d)
	}
	return d
}

func holding(h holder) subject.Subject {
	return subject.Subject{MHA: func(c attention.Config) (subject.Module, error) {
		m, err := attention.New(c)
		return holder{m, h.answer, h.keys, new(bool)}, err
	}}
}

func TestLoadIsReadBack(t *testing.T) {
	change := func(key string, f func(t *attention.Tensor)) func(attention.StateDict) attention.StateDict {
		return func(d attention.StateDict) attention.StateDict {
			f(d[key])
			return d
		}
	}
	for _, tc := range []struct {
		name            string
		answer          func(attention.StateDict) attention.StateDict
		wrong, doubtful []string
		held            bool
	}{
		{name: "right"},
		{name: "says nothing", answer: func(attention.StateDict) attention.StateDict { return nil }},
		{name: "scaled and scaled back", answer: change("W_Q", func(t *attention.Tensor) {
			for i, v := range t.Data {
				t.Data[i] = v / 3 * 3
			}
		})},
		{name: "as before", answer: change("W_Q", func(t *attention.Tensor) { clear(t.Data) }), held: true,
			wrong: []string{"W_Q reads back as it was before the load"}},
		{name: "transposed", answer: change("W_O", transpose), held: true,
			wrong: []string{"W_O reads back transposed"}},
		{name: "another", answer: func(d attention.StateDict) attention.StateDict {
			copy(d["W_K"].Data, d["W_Q"].Data)
			return d
		}, held: true, wrong: []string{"W_K reads back with the values of W_Q"}},
		{name: "larger", answer: change("W_V", func(t *attention.Tensor) {
			for i := range t.Data {
				t.Data[i] *= -0.25
			}
		}), held: true, wrong: []string{"W_V reads back as -0.25 times itself"}},
		{name: "reordered", answer: change("W_V", func(t *attention.Tensor) { slices.Reverse(t.Data) }), held: true,
			wrong: []string{"W_V reads back with its values in another order"}},
		{name: "rounded", answer: change("W_V", func(t *attention.Tensor) {
			for i, v := range t.Data {
				t.Data[i] = float32(int(v*4096)) / 4096
			}
		}), held: true,
			wrong: []string{"W_V reads back changed a little, as rounding to a lower precision does: rel 0.002"}},
		{name: "random", answer: change("W_V", randomize), held: true,
			wrong: []string{"W_V reads back with other values: rel 14, gain 14, cosine -0.014, as random ones"}},
		{name: "in part", answer: change("W_V", func(t *attention.Tensor) {
			for i := range t.Data[:5*64] {
				t.Data[i] += 0.25
			}
		}), held: true,
			wrong: []string{"W_V reads back with other values in 5 of 64 rows, 0 to 4: " +
				"rel 0.97, gain 1.4, cosine 0.72"}},
		{name: "lacks one", answer: func(d attention.StateDict) attention.StateDict {
			delete(d, "W_O")
			return d
		}, doubtful: []string{"StateDict() lacks W_O"}},
		{name: "one more, and one wrong", answer: func(d attention.StateDict) attention.StateDict {
			d["cache"] = attention.NewTensor(2)
			clear(d["W_K"].Data)
			return d
		}, wrong: []string{"W_K reads back as it was before the load"},
			doubtful: []string{"StateDict() has cache, which was not loaded"}},
		{name: "other shape", answer: change("W_O", func(t *attention.Tensor) { t.Shape = []int{32, 128} }),
			doubtful: []string{"W_O reads back in shape (32, 128), and was loaded in shape (64, 64)"}},
		{name: "invalid", answer: change("W_O", func(t *attention.Tensor) { t.Shape = []int{7} }),
			wrong: []string{"StateDict() gives no valid W_O: shape (7,) needs 7 elements, the data has 4096"}},
		{name: "no tensor", answer: func(d attention.StateDict) attention.StateDict {
			d["W_O"] = nil
			return d
		}, wrong: []string{"StateDict() gives no valid W_O: no tensor"}},
		{name: "panics", answer: func(attention.StateDict) attention.StateDict { panic("kaboom") },
			wrong: []string{"StateDict() panics after the load: kaboom"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := harnesstest.ReadCase(t, "seed/causal")
			r := run(holding(holder{answer: tc.answer}), c)
			require.NoError(t, r.Err)
			require.Equal(t, tc.wrong, r.Load.Wrong)
			require.Equal(t, tc.doubtful, r.Load.Doubtful)
			require.False(t, r.Load.Unchanged)
			require.Equal(t, tc.held, r.Load.Held != nil)
			for key, how := range r.Load.ReadBack {
				wrong := slices.ContainsFunc(append(tc.wrong, tc.doubtful...), func(s string) bool {
					return strings.HasPrefix(s, key) || strings.HasSuffix(s, "lacks "+key) || strings.Contains(s, "valid "+key)
				})
				require.Equal(t, wrong, how != "unchanged", "%s: %s", key, how)
			}
			require.Empty(t, r.Findings)
		})
	}
}

// A module may keep its parameters in the precision that it declares, and in no lower one.
func TestLoadInADeclaredPrecision(t *testing.T) {
	for precision, right := range map[subject.Precision]bool{
		subject.Float32: false, subject.Float16: false, subject.TF32: false, subject.BFloat16: true,
	} {
		s := holding(holder{answer: func(d attention.StateDict) attention.StateDict {
			for i, v := range d["W_Q"].Data {
				d["W_Q"].Data[i] = variant.BFloat16(v)
			}
			return d
		}})
		s.Precision = precision
		r := run(s, harnesstest.ReadCase(t, "seed/causal"))
		require.NoError(t, r.Err)
		require.Equal(t, right, len(r.Load.Wrong) == 0, "%q: %s", precision, r.Load.Wrong)
	}
}

// A load without effect leaves every parameter as it was.
func TestLoadWithoutEffect(t *testing.T) {
	c := harnesstest.ReadCase(t, "mha/padding")
	idle := harnesstest.SubjectOf(harnesstest.Layer{OnLoad: func(attention.StateDict) error { return nil }})
	r := run(idle, c)
	require.NoError(t, r.Err)
	require.Equal(t, []string{"every parameter reads back as it was before the load"}, r.Load.Wrong)
	require.True(t, r.Load.Unchanged)
	require.NotNil(t, r.Load.Held)

	zeros := *c // the given values are the old ones, so the module holds what was given
	zeros.State = attention.StateDict{}
	for key, t := range c.State {
		zeros.State[key] = attention.NewTensor(t.Shape...)
	}
	r = run(idle, &zeros)
	require.NoError(t, r.Err)
	for key, how := range r.Load.ReadBack {
		require.Equal(t, "unchanged", how, key)
	}
	require.Len(t, r.Load.ReadBack, len(c.State))
	r.Load.ReadBack = nil
	require.Equal(t, subject.Load{Confirmed: true}, r.Load)
}

// live is a layer whose StateDict returns the tensors that it loads into and that Forward spoils.
type live struct{ state attention.StateDict }

func (m live) LoadStateDict(dict attention.StateDict, _ attention.Strictness) (attention.IncompatibleKeys, error) {
	for key, t := range dict {
		copy(m.state[key].Data, t.Data)
	}
	m.state["W_O"].Data[0]++ // a fault
	return attention.IncompatibleKeys{}, nil
}

func (m live) StateDict() attention.StateDict { return m.state }

func (m live) Forward(in attention.Inputs) (attention.Outputs, error) {
	clear(m.state["W_O"].Data)
	return attention.Outputs{Output: in.Query}, nil
}

// Tensors that a layer hands out may change later. Parameters count as they were before and after
// the load.
func TestLoadOfLiveTensors(t *testing.T) {
	c := harnesstest.ReadCase(t, "seed/causal")
	r := run(subject.Subject{MHA: func(attention.Config) (subject.Module, error) {
		m := live{attention.StateDict{}}
		for key, t := range c.State {
			m.state[key] = attention.NewTensor(t.Shape...)
		}
		return m, nil
	}}, c)
	require.NoError(t, r.Err)
	require.Len(t, r.Load.Wrong, 1)
	require.Contains(t, r.Load.Wrong[0], "W_O reads back with other values in 1 of")
	require.False(t, r.Load.Unchanged)
	require.Equal(t, c.State["W_O"].Data[0]+1, r.Load.Held["W_O"].Data[0])
}

func TestLoadContradictsItself(t *testing.T) {
	missing := func(key string) attention.IncompatibleKeys {
		return attention.IncompatibleKeys{Missing: []string{key}}
	}
	unexpected := func(key string) attention.IncompatibleKeys {
		return attention.IncompatibleKeys{Unexpected: []string{key}}
	}
	for _, tc := range []struct {
		keys attention.IncompatibleKeys
		want string
	}{
		{missing("W_Q"), "LoadStateDict says that W_Q is missing, which it was given"},
		{missing("W_R"), "LoadStateDict says that W_R is missing, which the layer does not have, and returns no error"},
		{unexpected("W_Q"), "LoadStateDict did not expect W_Q, which the layer has, and returns no error"},
		{unexpected("W_R"), "LoadStateDict did not expect W_R, which it was not given"},
	} {
		r := run(holding(holder{keys: tc.keys}), harnesstest.ReadCase(t, "seed/causal"))
		require.NoError(t, r.Err)
		require.Equal(t, []string{tc.want}, r.Load.Wrong)
	}
}

func transpose(t *attention.Tensor) {
	n := t.Shape[0]
	for i := range n {
		for j := range i {
			t.Data[i*n+j], t.Data[j*n+i] = t.Data[j*n+i], t.Data[i*n+j]
		}
	}
}

func randomize(t *attention.Tensor) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range t.Data {
		t.Data[i] = float32(r.NormFloat64())
	}
}
