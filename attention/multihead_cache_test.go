package attention_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// A sequence in two calls, the second with a cache of what the first projected, gives what one call
// gives. The cache is worked out here, by hand.
func TestCacheContinuesASequence(t *testing.T) {
	const length, before = 7, 4
	for name, change := range map[string]func(*attention.Config){
		"Llama":         func(*attention.Config) {},
		"ALiBi":         func(c *attention.Config) { c.ALiBi = true },
		"window":        func(c *attention.Config) { c.Window = 3 },
		"relative bias": func(c *attention.Config) { c.RelativeBias = 2 },
		"sinks":         func(c *attention.Config) { c.Sinks = true },
		"interleaved": func(c *attention.Config) {
			c.RoPE = &attention.RoPE{Style: attention.Interleaved, Dim: 4, Base: 100, Factor: 2}
		},
		"no rotation": func(c *attention.Config) { c.RoPE, c.QKNorm = nil, nil },
		"softcap":     func(c *attention.Config) { c.Softcap = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			c := causalDecoder
			change(&c)
			m := loaded(t, c, 1)
			x := randomTensor(2, 1, length, 12)
			first, rest := rows(one(x), 0, before), rows(one(x), before, length-before)
			in := self(batched(rest))
			in.PastKey, in.PastValue = cached(c, m.StateDict(), first)
			want := forward(t, m, self(x)).Data[before*12:]
			require.InDeltaSlice(t, wide(want), forward(t, m, in).Float64s(), 1e-5)
		})
	}
}

// Position decides what a query sees of a cache: all of it, and of the new keys its own and those before. Masks count the
// cached keys first.
func TestCacheIsSeenAndMasked(t *testing.T) {
	c := attention.Config{EmbedDim: 4, NumHeads: 2, ParamLayout: attention.LlamaLayout, WithoutBias: true, NeedWeights: attention.WeightsPerHead}
	m := loaded(t, c, 1)
	in := self(randomTensor(2, 1, 2, 4))
	in.PastKey, in.PastValue = randomTensor(3, 1, 2, 3, 2), randomTensor(4, 1, 2, 3, 2)
	in.Padding = attention.NewMask(1, 5)
	in.Padding.Data[1] = true
	out, err := m.Forward(in)
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 2, 5}, out.Weights.Shape)
	for at, w := range out.Weights.Data {
		i, j := at/5%2, at%5
		require.Equal(t, j != 1 && j <= 3+i, w > 0, "query %d, key %d", i, j)
	}
}

// An empty cache is none.
func TestEmptyCache(t *testing.T) {
	m := loaded(t, causalDecoder, 1)
	x := randomTensor(2, 2, 5, 12)
	in := self(x)
	in.PastKey, in.PastValue = attention.NewTensor(2, 2, 0, 6), attention.NewTensor(2, 2, 0, 6)
	require.Equal(t, forward(t, m, self(x)), forward(t, m, in))
}

func one(x *attention.Tensor) *attention.Tensor {
	return &attention.Tensor{Shape: x.Shape[1:], Data: x.Data}
}

func batched(x *attention.Tensor) *attention.Tensor {
	return &attention.Tensor{Shape: append([]int{1}, x.Shape...), Data: x.Data}
}

// cached projects, norms and rotates tokens (P, D) as a layer with Llama's keys does: (1, Hk, P, E).
func cached(c attention.Config, dict attention.StateDict, x *attention.Tensor) (key, value *attention.Tensor) {
	heads, e, past := c.NumKVHeads, c.HeadDim, x.Shape[0]
	project := func(name string) *attention.Tensor {
		out := attention.NewTensor(1, heads, past, e)
		for at := range out.Data {
			h, t, feature := at/(past*e), at/e%past, at%e
			sum := float64(dict[name+".bias"].Data[h*e+feature])
			for i := range c.EmbedDim {
				sum += float64(x.Data[t*c.EmbedDim+i]) * float64(dict[name+".weight"].Data[(h*e+feature)*c.EmbedDim+i])
			}
			out.Data[at] = float32(sum)
		}
		return out
	}
	key, value = project("k_proj"), project("v_proj")
	for row := range heads * past {
		features := key.Data[row*e:][:e]
		if c.QKNorm != nil {
			squares := 0.0
			for _, v := range features {
				squares += float64(v) * float64(v)
			}
			for i := range features {
				features[i] = float32(float64(features[i]) / math.Sqrt(squares/float64(e)+c.QKNorm.Epsilon) * float64(dict["k_norm.weight"].Data[i]))
			}
		}
		if c.RoPE != nil {
			turn(*c.RoPE, features, row%past)
		}
	}
	return key, value
}

// turn rotates features as complex numbers.
func turn(r attention.RoPE, features []float32, position int) {
	dim, factor := r.Dim, r.Factor
	if dim == 0 {
		dim = len(features)
	}
	if factor == 0 {
		factor = 1
	}
	for i := range dim / 2 {
		a, b := i, i+dim/2
		if r.Style == attention.Interleaved {
			a, b = 2*i, 2*i+1
		}
		sin, cos := math.Sincos(float64(position) / factor / math.Pow(r.Base, 2*float64(i)/float64(dim)))
		z := complex(float64(features[a]), float64(features[b])) * complex(cos, sin)
		features[a], features[b] = float32(real(z)), float32(imag(z))
	}
}
