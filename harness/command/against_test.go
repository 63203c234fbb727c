package command

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/checkpoint"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/npy"
)

// captured is a case of a module with parameters and a buffer of integers.
func captured(t *testing.T) (*fixture.Case, attention.StateDict) {
	t.Helper()
	c := &fixture.Case{Name: "mine/block", Op: fixture.Module, Module: "mine.Block", Given: map[string]*npy.Array{}}
	dict := attention.StateDict{}
	for k, name := range []string{"attn.q", "attn.k", "ln.weight"} {
		v := attention.NewTensor(4, 5)
		for i := range v.Data {
			v.Data[i] = float32(1 + (i+1)*(i+7)*(k+3)%23)
			if name == "ln.weight" {
				v.Data[i] = 1
			}
		}
		a, err := npy.TensorArray(v, npy.Float32)
		require.NoError(t, err)
		dict[name], c.Given["state_dict."+name] = v, a
	}
	mask, err := npy.MaskArray(&attention.Mask{Shape: []int{2}, Data: []bool{true, false}})
	require.NoError(t, err)
	c.Given["state_dict.seen"], c.Given["inputs.x"] = mask, mask
	dict["seen"] = &attention.Tensor{Shape: []int{2}, Data: []float32{1, 0}}
	return c, dict
}

func TestAgainstModule(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(attention.StateDict)
		want   string
		fits   bool
	}{
		{
			"right", func(attention.StateDict) {}, `
  proves nothing, because every element is the same number: ln.weight
it would load, and has the case's values
`, true,
		},
		{
			"exchanged", func(d attention.StateDict) { d["attn.q"], d["attn.k"] = d["attn.k"], d["attn.q"] }, `
  attn.k, attn.q: each has the values of the other: exchange the two keys
  proves nothing, because every element is the same number: ln.weight
it would load; 2 of 4 parameters differ from the case's
`, false,
		},
		{
			"a wrong buffer", func(d attention.StateDict) { d["seen"].Data[0] = 0 }, `
  seen: it looks like it was never loaded: all zeros
  proves nothing, because every element is the same number: ln.weight
it would load; 1 of 4 parameters differ from the case's
`, false,
		},
		{
			"behind a prefix, and renamed", func(d attention.StateDict) {
				d["lm_head"] = attention.NewTensor(1)
				for _, name := range []string{"attn.q", "ln.weight", "seen"} {
					d["model."+name] = d[name]
					delete(d, name)
				}
				d["model.attn.K"] = d["attn.k"]
				delete(d, "attn.k")
			}, `
  3 of 4 parameters are there with the prefix "model.": remove it from the keys
  without the prefix: lm_head
  attn.k: it is missing; model.attn.K has its values: rename that key
  proves nothing, because every element is the same number: ln.weight
it would not load
`, false,
		},
		{
			"missing and unexpected", func(d attention.StateDict) {
				delete(d, "ln.weight")
				d["rotary.inv_freq"] = attention.NewTensor(3)
			}, `
  missing: ln.weight
  unexpected: rotary.inv_freq
it would not load
`, false,
		},
		{
			"another shape", func(d attention.StateDict) { d["ln.weight"] = attention.NewTensor(5) }, `
  ln.weight: it has shape (5,), the case has (4, 5)
it would not load
`, false,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, dict := captured(t)
			tc.change(dict)
			data := harnesstest.Safetensors(dict)
			f, err := checkpoint.New(bytes.NewReader(data), int64(len(data)))
			require.NoError(t, err)
			var w strings.Builder
			fits, err := holdAgainst(&w, f, c)
			require.NoError(t, err)
			require.Equal(t, "\nagainst mine/block, module mine.Block"+tc.want, w.String())
			require.Equal(t, tc.fits, fits)
		})
	}
}
