package attention_test

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// sdpa computes attention of random query, key and value: two batch elements, four heads of width
// 6, five queries and seven keys.
func sdpa(t *testing.T, o attention.SDPAOptions) []float32 {
	t.Helper()
	kvHeads := 4
	if o.GroupedQuery {
		kvHeads = 2
	}
	q, k, v := randomTensor(1, 2, 4, 5, 6), randomTensor(2, 2, kvHeads, 7, 6), randomTensor(3, 2, kvHeads, 7, 6)
	out, err := attention.SDPA(q, k, v, o)
	require.NoError(t, err)
	return out.Data
}

// An option whose value has no effect gives the output without the option.
func TestOptionsThatDoNothing(t *testing.T) {
	sinks := attention.NewTensor(4)
	for i := range sinks.Data {
		sinks.Data[i] = -1e30
	}
	plain := sdpa(t, attention.SDPAOptions{})
	topLeft := sdpa(t, attention.SDPAOptions{Causality: attention.TopLeft})
	lowerRight := sdpa(t, attention.SDPAOptions{Causality: attention.LowerRight})
	for _, tc := range []struct {
		name string
		o    attention.SDPAOptions
		want []float32
	}{
		{"window of every distance", attention.SDPAOptions{Window: 7}, plain},
		{"widest window", attention.SDPAOptions{Window: math.MaxInt}, plain},
		{"causal window of every distance", attention.SDPAOptions{Window: 5, Causality: attention.TopLeft}, topLeft},
		{"lower-right window of every distance",
			attention.SDPAOptions{Window: 7, Causality: attention.LowerRight}, lowerRight},
		{"huge softcap", attention.SDPAOptions{Softcap: 1e12}, plain},
		{"sinks far below the scores", attention.SDPAOptions{Sinks: sinks}, plain},
		{"bias of zeros", attention.SDPAOptions{Bias: attention.NewTensor(5, 7)}, plain},
		{"the default scale", attention.SDPAOptions{Scale: 1 / math.Sqrt(6)}, plain},
	} {
		t.Run(tc.name, func(t *testing.T) { require.Equal(t, tc.want, sdpa(t, tc.o)) })
	}
}

// The same options with other values change the output, so that the test above can fail.
func TestOptionsThatDoSomething(t *testing.T) {
	plain := sdpa(t, attention.SDPAOptions{})
	for name, o := range map[string]attention.SDPAOptions{
		"window": {Window: 6}, "softcap": {Softcap: 1}, "ALiBi": {ALiBi: true},
		"sinks": {Sinks: attention.NewTensor(4)}, "scale": {Scale: 1},
	} {
		require.NotEqual(t, plain, sdpa(t, o), name)
	}
}

// An option equals a bias that holds the scores computed by hand, on queries of zeros.
func TestScoresByHand(t *testing.T) {
	q, k := randomTensor(1, 2, 4, 5, 6), randomTensor(2, 2, 4, 7, 6)
	slopes := []float64{1. / 4, 1. / 16, 1. / 64, 1. / 256}
	for _, tc := range []struct {
		name  string
		o     attention.SDPAOptions
		score func(plain float64, head, distance int) float64
	}{
		{"window", attention.SDPAOptions{Window: 2}, func(s float64, _, d int) float64 {
			if d < -1 || d > 1 {
				return math.Inf(-1)
			}
			return s
		}},
		{"causal window", attention.SDPAOptions{Window: 2, Causality: attention.TopLeft},
			func(s float64, _, d int) float64 {
				if d != 0 && d != -1 {
					return math.Inf(-1)
				}
				return s
			}},
		{"softcap before ALiBi", attention.SDPAOptions{Softcap: 0.5, ALiBi: true},
			func(s float64, h, d int) float64 {
				return 0.5*math.Tanh(s/0.5) - slopes[h]*math.Abs(float64(d))
			}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bias := attention.NewTensor(2, 4, 5, 7)
			for at := range bias.Data {
				n, i, j := at/35, at/7%5, at%7
				score := 0.0
				for e := range 6 {
					score += float64(q.Data[(n*5+i)*6+e]) * float64(k.Data[(n*7+j)*6+e]) / math.Sqrt(6)
				}
				bias.Data[at] = float32(tc.score(score, n%4, j-i))
			}
			zeros := attention.NewTensor(q.Shape...)
			want, err := attention.SDPA(zeros, k, randomTensor(3, 2, 4, 7, 6), attention.SDPAOptions{Bias: bias})
			require.NoError(t, err)
			require.InDeltaSlice(t, float64s(want.Data), float64s(sdpa(t, tc.o)), 1e-6)
		})
	}
}

// A sink equals a further key whose score is the sink and whose value is zero.
func TestSinkIsAKeyWithoutAValue(t *testing.T) {
	q, k, v := randomTensor(1, 1, 2, 3, 1), randomTensor(2, 1, 2, 4, 1), randomTensor(3, 1, 2, 4, 1)
	sinks := &attention.Tensor{Shape: []int{2}, Data: []float32{0.5, 3}}
	got, err := attention.SDPA(q, k, v, attention.SDPAOptions{Sinks: sinks})
	require.NoError(t, err)
	keys, bias := attention.NewTensor(1, 2, 5, 1), attention.NewTensor(2, 1, 5)
	values := keys.Clone()
	for h := range 2 {
		copy(keys.Data[h*5:], k.Data[h*4:][:4])
		copy(values.Data[h*5:], v.Data[h*4:][:4])
		bias.Data[h*5+4] = sinks.Data[h]
	}
	want, err := attention.SDPA(q, keys, values, attention.SDPAOptions{Bias: bias})
	require.NoError(t, err)
	require.InDeltaSlice(t, want.Float64s(), got.Float64s(), 1e-6)
}

// A query that sees no key but has a sink gives zeros whatever EmptyRow is.
func TestSinkOfAnEmptyRow(t *testing.T) {
	got := sdpa(t, attention.SDPAOptions{
		Allow: attention.NewMask(5, 7), Sinks: attention.NewTensor(4), EmptyRow: attention.EmptyNaN,
	})
	require.Equal(t, make([]float32, 2*4*5*6), got)
}

// Grouped heads equal heads whose keys and values are repeated.
func TestGroupedHeadsRepeat(t *testing.T) {
	q, k, v := randomTensor(1, 2, 4, 5, 6), randomTensor(2, 2, 2, 7, 6), randomTensor(3, 2, 2, 7, 6)
	repeated := func(x *attention.Tensor) *attention.Tensor {
		out, size := attention.NewTensor(2, 4, 7, 6), 7*6
		for n, from := range []int{0, 0, 1, 1, 2, 2, 3, 3} {
			copy(out.Data[n*size:], x.Data[from*size:][:size])
		}
		return out
	}
	grouped := attention.SDPAOptions{GroupedQuery: true}
	want, err := attention.SDPA(q, repeated(k), repeated(v), attention.SDPAOptions{})
	require.NoError(t, err)
	require.Equal(t, want.Data, sdpa(t, grouped))

	same, err := attention.SDPA(q, randomTensor(2, 2, 4, 7, 6), randomTensor(3, 2, 4, 7, 6), grouped)
	require.NoError(t, err)
	require.Equal(t, sdpa(t, attention.SDPAOptions{}), same.Data, "as many key heads as heads")
}

// Leading dimensions that are 1 or absent repeat, of each of the three tensors by itself.
func TestLeadingDimensionsBroadcast(t *testing.T) {
	for _, tc := range []struct {
		name    string
		q, k, v []int
		grouped bool
	}{
		{"query without a batch", []int{3}, []int{2, 3}, []int{2, 3}, false},
		{"one query head", []int{2, 1}, []int{2, 3}, []int{2, 3}, false},
		{"key of one batch element", []int{2, 3}, []int{1, 3}, []int{2, 3}, false},
		{"value of one head", []int{2, 3}, []int{2, 3}, []int{2, 1}, false},
		{"each lacks another", []int{2, 1}, []int{3}, []int{1, 1}, false},
		{"grouped heads of one batch element", []int{2, 3}, []int{1, 1}, []int{1}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q, wholeQ := repeatedTensor(1, tc.q, 5)
			k, wholeK := repeatedTensor(2, tc.k, 7)
			v, wholeV := repeatedTensor(3, tc.v, 7)
			got, err := attention.SDPA(q, k, v, attention.SDPAOptions{GroupedQuery: tc.grouped, ALiBi: true})
			require.NoError(t, err)
			want, err := attention.SDPA(wholeQ, wholeK, wholeV, attention.SDPAOptions{ALiBi: true})
			require.NoError(t, err)
			require.Equal(t, want, got)
			shape, err := attention.SDPAShape(q, k, v, tc.grouped)
			require.NoError(t, err)
			require.Equal(t, got.Shape, shape)
		})
	}
}

// repeatedTensor returns a random tensor (lead, length, 4), and the same values broadcast to
// (2, 3, length, 4).
func repeatedTensor(seed uint64, lead []int, length int) (own, whole *attention.Tensor) {
	own = randomTensor(seed, append(slices.Clone(lead), length, 4)...)
	whole = attention.NewTensor(2, 3, length, 4)
	size := length * 4
	for n := range 6 {
		batch, head := n/3, n%3
		if lead[len(lead)-1] == 1 {
			head = 0
		}
		if len(lead) == 1 || lead[0] == 1 {
			batch = 0
		}
		copy(whole.Data[n*size:], own.Data[(batch*lead[len(lead)-1]+head)*size:][:size])
	}
	return own, whole
}

// relativeTable is a relative bias (3, 2) with a reach of 1.
var relativeTable = &attention.Tensor{Shape: []int{3, 2}, Data: []float32{0.5, -1, 2, 0.25, -0.75, 1.5}}

// A layer whose projections are the identity equals SDPA, bit for bit, under every option.
func TestLayerEqualsSDPA(t *testing.T) {
	for name, change := range map[string]func(*attention.Config, *attention.SDPAOptions){
		"plain":   func(*attention.Config, *attention.SDPAOptions) {},
		"scale":   func(c *attention.Config, o *attention.SDPAOptions) { c.Scale, o.Scale = 0.7, 0.7 },
		"softcap": func(c *attention.Config, o *attention.SDPAOptions) { c.Softcap, o.Softcap = 0.7, 0.7 },
		"window":  func(c *attention.Config, o *attention.SDPAOptions) { c.Window, o.Window = 2, 2 },
		"ALiBi":   func(c *attention.Config, o *attention.SDPAOptions) { c.ALiBi, o.ALiBi = true, true },
		"sinks": func(c *attention.Config, o *attention.SDPAOptions) {
			c.Sinks, o.Sinks = true, &attention.Tensor{Shape: []int{2}, Data: []float32{0.5, -1}}
		},
		"bidirectional": func(c *attention.Config, o *attention.SDPAOptions) {
			c.Bidirectional, o.Causality = true, attention.NotCausal
		},
		"relative bias": func(c *attention.Config, o *attention.SDPAOptions) {
			c.RelativeBias, c.Bidirectional, o.Causality = 1, true, attention.NotCausal
			o.Bias = attention.NewTensor(2, 5, 5)
			for at := range o.Bias.Data {
				h, distance := at/25, at%5-at/5%5
				o.Bias.Data[at] = relativeTable.Data[(min(max(distance, -1), 1)+1)*2+h]
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := attention.Config{EmbedDim: 8, NumHeads: 2, WithoutBias: true, ParamLayout: attention.SeedLayout}
			o := attention.SDPAOptions{Causality: attention.TopLeft}
			change(&c, &o)
			m := newLayer(t, c)
			dict := m.StateDict()
			setIdentity(dict, "W_Q", "W_K", "W_V", "W_O")
			if o.Sinks != nil {
				dict["sinks"] = o.Sinks
			}
			if c.RelativeBias > 0 {
				dict["relative_bias.weight"] = relativeTable
			}
			load(t, m, dict)
			x, heads := randomTensor(1, 1, 5, 8), attention.NewTensor(1, 2, 5, 4)
			for at := range heads.Data {
				h, row, e := at/20, at/4%5, at%4
				heads.Data[at] = x.Data[row*8+h*4+e]
			}
			want, err := attention.SDPA(heads, heads, heads, o)
			require.NoError(t, err)
			got := forward(t, m, self(x))
			for at, v := range want.Data {
				h, row, e := at/20, at/4%5, at%4
				require.Equal(t, v, got.Data[row*8+h*4+e])
			}
		})
	}
}
