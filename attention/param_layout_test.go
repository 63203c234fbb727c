package attention_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// layout builds the state dict of a layout from the weights (out, in) and the biases of the four
// projections. Its code shares nothing with the package.
type layout struct {
	name    string
	layout  attention.ParamLayout
	grouped bool // the layout can have fewer key heads than heads
	arrange func(q, k, v, o linear) attention.StateDict
}

// linear is a projection; bias is nil if the layer has none.
type linear struct{ weight, bias *attention.Tensor }

var layouts = []layout{
	{"nn.MultiheadAttention", attention.TorchLayout, false, func(q, k, v, o linear) attention.StateDict {
		return attention.StateDict{
			"in_proj_weight":  stacked(q.weight, k.weight, v.weight),
			"in_proj_bias":    stacked(q.bias, k.bias, v.bias),
			"out_proj.weight": o.weight, "out_proj.bias": o.bias,
		}
	}},
	{"separate weights", attention.TorchSeparateLayout, false, func(q, k, v, o linear) attention.StateDict {
		return attention.StateDict{
			"q_proj_weight": q.weight, "k_proj_weight": k.weight, "v_proj_weight": v.weight,
			"in_proj_bias":    stacked(q.bias, k.bias, v.bias),
			"out_proj.weight": o.weight, "out_proj.bias": o.bias,
		}
	}},
	{"seed", attention.SeedLayout, true, func(q, k, v, o linear) attention.StateDict {
		return attention.StateDict{"W_Q": q.weight, "W_K": k.weight, "W_V": v.weight, "W_O": o.weight}
	}},
	{"Llama", attention.LlamaLayout, true, func(q, k, v, o linear) attention.StateDict {
		return attention.StateDict{
			"q_proj.weight": q.weight, "k_proj.weight": k.weight, "v_proj.weight": v.weight, "o_proj.weight": o.weight,
			"q_proj.bias": q.bias, "k_proj.bias": k.bias, "v_proj.bias": v.bias, "o_proj.bias": o.bias,
		}
	}},
	{"GPT-2", attention.GPT2Layout, false, func(q, k, v, o linear) attention.StateDict {
		return attention.StateDict{
			"c_attn.weight": transposed(stacked(q.weight, k.weight, v.weight)),
			"c_attn.bias":   stacked(q.bias, k.bias, v.bias),
			"c_proj.weight": transposed(o.weight), "c_proj.bias": o.bias,
		}
	}},
	{"NeoX", attention.NeoXLayout, true, func(q, k, v, o linear) attention.StateDict {
		return attention.StateDict{
			"query_key_value.weight": byKeyHead(q.weight, k.weight, v.weight),
			"query_key_value.bias":   byKeyHead(q.bias, k.bias, v.bias),
			"dense.weight":           o.weight, "dense.bias": o.bias,
		}
	}},
	{"fused", attention.FusedLayout, true, func(q, k, v, o linear) attention.StateDict {
		return attention.StateDict{
			"qkv_proj.weight": stacked(q.weight, k.weight, v.weight),
			"qkv_proj.bias":   stacked(q.bias, k.bias, v.bias),
			"o_proj.weight":   o.weight, "o_proj.bias": o.bias,
		}
	}},
}

// headDim is the width of a head in these tests.
const headDim = 3

// stacked puts the rows of tensors below one another. The result is nil if the parts are.
func stacked(parts ...*attention.Tensor) *attention.Tensor {
	if parts[0] == nil {
		return nil
	}
	out := &attention.Tensor{Shape: slices.Clone(parts[0].Shape)}
	out.Shape[0] = 0
	for _, p := range parts {
		out.Shape[0] += p.Shape[0]
		out.Data = append(out.Data, p.Data...)
	}
	return out
}

// byKeyHead stacks the rows of one key head after another: its query heads, its key and its value.
// The result is nil if the parts are.
func byKeyHead(q, k, v *attention.Tensor) *attention.Tensor {
	if q == nil {
		return nil
	}
	var parts []*attention.Tensor
	kvHeads := k.Shape[0] / headDim
	group := q.Shape[0] / kvHeads
	for h := range kvHeads {
		parts = append(parts, rows(q, h*group, group), rows(k, h*headDim, headDim), rows(v, h*headDim, headDim))
	}
	return stacked(parts...)
}

func transposed(t *attention.Tensor) *attention.Tensor {
	out := attention.NewTensor(t.Shape[1], t.Shape[0])
	for i := range t.Shape[0] {
		for j := range t.Shape[1] {
			out.Data[j*t.Shape[0]+i] = t.Data[i*t.Shape[1]+j]
		}
	}
	return out
}

// Layers of the same weights give the same output, bit for bit, in every layout that can hold them.
func TestLayoutsAreTheSameLayer(t *testing.T) {
	for _, family := range []struct {
		name         string
		heads, kv, d int
		biased       bool
	}{
		{"biases", 4, 4, 12, true},
		{"no biases", 4, 4, 12, false},
		{"grouped heads, wider than the model", 6, 2, 10, true},
		{"grouped heads, no biases", 6, 2, 10, false},
	} {
		c := attention.Config{
			EmbedDim: family.d, NumHeads: family.heads, NumKVHeads: family.kv, HeadDim: headDim,
			WithoutBias: !family.biased,
		}
		query, key := family.heads*headDim, family.kv*headDim
		projection := func(seed uint64, out, in int) linear {
			l := linear{weight: randomTensor(seed, out, in)}
			if family.biased {
				l.bias = randomTensor(seed+1, out)
			}
			return l
		}
		q, k := projection(1, query, family.d), projection(3, key, family.d)
		v, o := projection(5, key, family.d), projection(7, family.d, query)
		x := randomTensor(9, 2, 5, family.d)
		var first *attention.Tensor
		for _, l := range layouts {
			if (family.kv < family.heads && !l.grouped) || (family.biased && l.layout == attention.SeedLayout) {
				continue
			}
			for _, prefix := range []string{"", "model.layers.0.self_attn."} {
				t.Run(family.name+"/"+l.name+"/"+prefix, func(t *testing.T) {
					c.ParamLayout, c.Prefix = l.layout, prefix
					m := newLayer(t, c)
					dict := attention.StateDict{}
					for name, p := range l.arrange(q, k, v, o) {
						if p != nil {
							dict[prefix+name] = p
						}
					}
					load(t, m, dict)
					require.Empty(t, cmp.Diff(dict, m.StateDict()), "StateDict does not return what was loaded")
					out := forward(t, m, self(x))
					if first == nil {
						first = out
					}
					require.Equal(t, first, out)
				})
			}
		}
	}
}

// The prefix comes before the names of all parameters, projections or not. Names without the prefix
// are unexpected.
func TestPrefix(t *testing.T) {
	c := attention.Config{
		EmbedDim: 4, NumHeads: 2, ParamLayout: attention.LlamaLayout, WithoutOutputBias: true, Prefix: "layers.3.",
		Sinks: true, RelativeBias: 2, QKNorm: &attention.QKNorm{},
	}
	m := newLayer(t, c)
	dict := m.StateDict()
	require.Equal(t, []string{
		"layers.3.k_norm.weight", "layers.3.k_proj.bias", "layers.3.k_proj.weight", "layers.3.o_proj.weight",
		"layers.3.q_norm.weight", "layers.3.q_proj.bias", "layers.3.q_proj.weight", "layers.3.relative_bias.weight",
		"layers.3.sinks", "layers.3.v_proj.bias", "layers.3.v_proj.weight",
	}, slices.Sorted(maps.Keys(dict)))
	require.Equal(t, []int{5, 2}, dict["layers.3.relative_bias.weight"].Shape)
	require.Equal(t, []int{2}, dict["layers.3.sinks"].Shape)
	require.Equal(t, []int{2}, dict["layers.3.q_norm.weight"].Shape)

	dict["sinks"] = dict["layers.3.sinks"]
	delete(dict, "layers.3.sinks")
	_, err := m.LoadStateDict(dict, attention.Strict)
	require.EqualError(t, err, "error(s) in loading state_dict for MultiHead:\n"+
		"\tmissing key(s) in state_dict: \"layers.3.sinks\"\n\tunexpected key(s) in state_dict: \"sinks\"")
	require.Equal(t, err, c.CheckStateDict(dict))
}
