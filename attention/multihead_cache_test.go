package attention_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// A sequence in two calls, the second with the first's keys and values as its cache, gives the
// output of one call. The test computes the cache by hand.
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
		"no rotation": func(c *attention.Config) { c.RoPE, c.QKNorm, c.Scale = nil, nil, 0.1 },
		"softcap":     func(c *attention.Config) { c.Softcap = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			c := causalDecoder
			change(&c)
			m := loaded(t, c, 1)
			x := randomTensor(2, 1, length, 12)
			first, rest := rows(squeezed(x), 0, before), rows(squeezed(x), before, length-before)
			in := self(unsqueezed(rest))
			in.PastKey, in.PastValue = cached(c, m.StateDict(), first)
			want := forward(t, m, self(x)).Data[before*12:]
			require.InDeltaSlice(t, float64s(want), forward(t, m, in).Float64s(), 1e-5)
		})
	}
}

// A query sees the whole cache, the new keys before it and its own. Masks count the cached keys
// first.
func TestCacheIsSeenAndMasked(t *testing.T) {
	m := loaded(t, attention.Config{
		EmbedDim: 4, NumHeads: 2, ParamLayout: attention.LlamaLayout, WithoutBias: true,
		NeedWeights: attention.WeightsPerHead,
	}, 1)
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

// A cache of length 0 equals no cache.
func TestEmptyCache(t *testing.T) {
	m := loaded(t, causalDecoder, 1)
	x := randomTensor(2, 2, 5, 12)
	in := self(x)
	in.PastKey, in.PastValue = attention.NewTensor(2, 2, 0, 6), attention.NewTensor(2, 2, 0, 6)
	require.Equal(t, forward(t, m, self(x)), forward(t, m, in))
}

// cached projects, normalizes and rotates tokens (P, D) as a LlamaLayout layer does:
// -> (1, Hk, P, E).
func cached(c attention.Config, dict attention.StateDict, x *attention.Tensor) (key, value *attention.Tensor) {
	heads, e, past := c.NumKVHeads, c.HeadDim, x.Shape[0]
	project := func(name string) *attention.Tensor {
		weight, bias := dict[name+".weight"].Data, dict[name+".bias"].Data
		out := attention.NewTensor(1, heads, past, e)
		for at := range out.Data {
			h, t, feature := at/(past*e), at/e%past, at%e
			sum := float64(bias[h*e+feature])
			for i := range c.EmbedDim {
				sum += float64(x.Data[t*c.EmbedDim+i]) * float64(weight[(h*e+feature)*c.EmbedDim+i])
			}
			out.Data[at] = float32(sum)
		}
		return out
	}
	key, value = project("k_proj"), project("v_proj")
	for row := range heads * past {
		features := key.Data[row*e:][:e]
		if c.QKNorm != nil {
			normalize(features, dict["k_norm.weight"].Data, c.QKNorm.Epsilon)
		}
		if c.RoPE != nil {
			rotate(*c.RoPE, features, row%past)
		}
	}
	return key, value
}

func normalize(features, weight []float32, epsilon float64) {
	squares := 0.0
	for _, v := range features {
		squares += float64(v) * float64(v)
	}
	rms := math.Sqrt(squares/float64(len(features)) + epsilon)
	for i, v := range features {
		features[i] = float32(float64(v) / rms * float64(weight[i]))
	}
}

// rotate multiplies pairs of features, as complex numbers, by e^(i * angle).
func rotate(r attention.RoPE, features []float32, position int) {
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
