package attention_test

import (
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/attention/kernel"
)

// plainSDPA is softmax(scale * q k^T + bias) v in float64, one query after the other. Hidden keys
// have a bias of -Inf.
func plainSDPA(q, k, v *attention.Tensor, scale float64, bias func(query, key int) float64) []float64 {
	length, keys := q.Shape[2], k.Shape[2]
	e, ev := q.Shape[3], v.Shape[3]
	var out []float64
	for n := range q.Shape[0] * q.Shape[1] {
		for i := range length {
			p, sum := make([]float64, keys), 0.0
			for j := range p {
				s := 0.0
				for c := range e {
					s += float64(q.Data[(n*length+i)*e+c]) * float64(k.Data[(n*keys+j)*e+c])
				}
				p[j] = math.Exp(scale*s + bias(i, j))
				sum += p[j]
			}
			for c := range ev {
				o := 0.0
				for j, w := range p {
					o += w / sum * float64(v.Data[(n*keys+j)*ev+c])
				}
				out = append(out, o)
			}
		}
	}
	return out
}

// Blocks of queries and keys give what plain loops give, at sizes around the edges of a block.
func TestBlocksAgainstPlainLoops(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		length, keys, e, ev := 1+r.IntN(60), 1+r.IntN(120), 1+r.IntN(40), 1+r.IntN(40)
		q := randomTensor(r.Uint64(), 1, 2, length, e)
		k, v := randomTensor(r.Uint64(), 1, 2, keys, e), randomTensor(r.Uint64(), 1, 2, keys, ev)
		o := attention.SDPAOptions{Scale: 0.3, Causality: attention.Causality(r.IntN(3))}
		if r.IntN(2) == 0 {
			o.Window = 1 + r.IntN(keys)
		}
		offset := 0
		if o.Causality == attention.LowerRight {
			offset = keys - length
		}
		out, err := attention.SDPA(q, k, v, o)
		require.NoError(t, err)
		want := plainSDPA(q, k, v, o.Scale, func(i, j int) float64 {
			distance := j - i - offset
			if o.Causality != attention.NotCausal && distance > 0 || o.Window > 0 && max(distance, -distance) >= o.Window {
				return math.Inf(-1)
			}
			return 0
		})
		for i, w := range want {
			if w != w { // the query sees no key
				w = 0
			}
			require.InDelta(t, w, out.Data[i], 3e-6, "(%d, %d, %d, %d), element %d", length, keys, e, ev, i)
		}
	}
}

// The bits depend neither on the instructions of the processor nor on the number of its cores.
func TestSameBitsOnEveryMachine(t *testing.T) {
	before := kernel.Used()
	t.Cleanup(func() {
		kernel.Use(before)
		runtime.GOMAXPROCS(runtime.NumCPU())
	})
	bias := randomTensor(4, 50, 70)
	sinks := randomTensor(5, 4)
	layer := loaded(t, attention.Config{
		EmbedDim: 20, NumHeads: 4, NumKVHeads: 2, HeadDim: 10, ParamLayout: attention.LlamaLayout,
		RoPE: &attention.RoPE{Dim: 4, Base: 100, Factor: 1}, Window: 30,
	}, 1)
	x := randomTensor(6, 2, 70, 20)
	for name, compute := range map[string]func() *attention.Tensor{
		"plain":  func() *attention.Tensor { return wide(t, attention.SDPAOptions{}) },
		"causal": func() *attention.Tensor { return wide(t, attention.SDPAOptions{Causality: attention.LowerRight}) },
		"bias":   func() *attention.Tensor { return wide(t, attention.SDPAOptions{Bias: bias, Softcap: 2, Sinks: sinks}) },
		"layer": func() *attention.Tensor {
			return forward(t, layer, self(x))
		},
	} {
		kernel.Use(kernel.Plain)
		want := compute()
		for _, set := range kernel.Sets() {
			for _, cores := range []int{1, 3} {
				kernel.Use(set)
				runtime.GOMAXPROCS(cores)
				require.Equal(t, want.Data, compute().Data, "%s with %s on %d cores", name, set, cores)
			}
		}
	}
}

// A window gives the bits of a mask that hides the same keys.
func TestWindowAndMaskHaveTheSameBits(t *testing.T) {
	for _, window := range []int{1, 2, 7, 20, 33} {
		allow := attention.NewMask(50, 70)
		for at := range allow.Data {
			distance := at%70 - at/70
			allow.Data[at] = max(distance, -distance) < window
		}
		masked := wide(t, attention.SDPAOptions{Allow: allow})
		require.Equal(t, masked.Data, wide(t, attention.SDPAOptions{Window: window}).Data, "window %d", window)
	}
}

// wide computes attention of 4 heads, 50 queries and 70 keys.
func wide(t *testing.T, o attention.SDPAOptions) *attention.Tensor {
	t.Helper()
	q, k, v := randomTensor(1, 1, 4, 50, 24), randomTensor(2, 1, 4, 70, 24), randomTensor(3, 1, 4, 70, 33)
	out, err := attention.SDPA(q, k, v, o)
	require.NoError(t, err)
	return out
}

// A NaN or an infinity in a value reaches every query, also from a key that is hidden. A NaN in a
// key reaches the queries that see it, and no other.
func TestNotFinite(t *testing.T) {
	q, k, v := randomTensor(1, 1, 1, 50, 8), randomTensor(2, 1, 1, 50, 8), randomTensor(3, 1, 1, 50, 8)
	o := attention.SDPAOptions{Causality: attention.TopLeft}
	v.Data[40*8+3] = float32(math.Inf(1))
	out, err := attention.SDPA(q, k, v, o)
	require.NoError(t, err)
	for i, value := range out.Data {
		switch row, feature := i/8, i%8; {
		case feature != 3:
			require.False(t, math.IsNaN(float64(value)), i)
		case row < 40:
			require.True(t, math.IsNaN(float64(value)), i)
		default:
			require.True(t, math.IsInf(float64(value), 1), i)
		}
	}
	v.Data[40*8+3], k.Data[40*8+3] = 0, float32(math.NaN())
	out, err = attention.SDPA(q, k, v, o)
	require.NoError(t, err)
	for i, value := range out.Data {
		require.Equal(t, i/8 >= 40, math.IsNaN(float64(value)), i)
	}
}
