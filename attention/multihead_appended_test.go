package attention_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

// A layer that appends a learned or a zero key equals SDPA on keys that hold it, visible to every
// query whatever the masks say.
func TestAppendedKeysAreKeys(t *testing.T) {
	for _, tc := range []struct {
		name          string
		learned, zero bool
	}{{"learned", true, false}, {"zero", false, true}, {"both", true, true}} {
		t.Run(tc.name, func(t *testing.T) {
			testAppendedKeys(t, tc.learned, tc.zero)
		})
	}
}

func testAppendedKeys(t *testing.T, learned, zero bool) {
	const B, H, L, E = 2, 2, 3, 2
	m := newLayer(t, attention.Config{
		EmbedDim: H * E, NumHeads: H, WithoutBias: true, ParamLayout: attention.TorchSeparateLayout,
		BiasKV: learned, ZeroAttn: zero,
	})
	dict := m.StateDict()
	setIdentity(dict, "q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight")
	learnedKey, learnedValue := randomTensor(1, 1, 1, H*E), randomTensor(2, 1, 1, H*E)
	keys := L
	if learned {
		dict["bias_k"], dict["bias_v"] = learnedKey, learnedValue
		keys++
	}
	if zero {
		keys++
	}
	load(t, m, dict)

	in := self(randomTensor(3, B, L, H*E))
	in.Padding, in.Bias = attention.NewMask(B, L), randomTensor(4, B*H, L, L)
	in.Padding.Data[0], in.Padding.Data[L+1] = true, true

	k, v := attention.NewTensor(B, H, keys, E), attention.NewTensor(B, H, keys, E)
	q, bias := attention.NewTensor(B, H, L, E), attention.NewTensor(B, H, L, keys)
	for at := range k.Data {
		b, h, j, e := at/(H*keys*E), at/(keys*E)%H, at/E%keys, at%E
		switch {
		case j < L:
			k.Data[at] = in.Key.Data[(b*L+j)*H*E+h*E+e]
			v.Data[at], q.Data[((b*H+h)*L+j)*E+e] = k.Data[at], k.Data[at]
		case j == L && learned:
			k.Data[at], v.Data[at] = learnedKey.Data[h*E+e], learnedValue.Data[h*E+e]
		}
	}
	for at := range bias.Data {
		n, i, j := at/(L*keys), at/keys%L, at%keys
		switch {
		case j < L && (j > i || in.Padding.Data[n/H*L+j]):
			bias.Data[at] = -1e30
		case j < L:
			bias.Data[at] = in.Bias.Data[(n*L+i)*L+j]
		}
	}
	want, err := attention.SDPA(q, k, v, attention.SDPAOptions{Bias: bias})
	require.NoError(t, err)
	got := forward(t, m, in)
	for at, w := range want.Data {
		b, h, i, e := at/(H*L*E), at/(L*E)%H, at/E%L, at%E
		require.InDelta(t, w, got.Data[(b*L+i)*H*E+h*E+e], 1e-6)
	}
}

// bias_k and bias_v are (1, 1, D), with packed weights and with separate ones.
func TestLearnedKeyIsAParameter(t *testing.T) {
	for _, layout := range []attention.ParamLayout{attention.TorchLayout, attention.TorchSeparateLayout} {
		c := attention.Config{EmbedDim: 4, NumHeads: 2, BiasKV: true, ParamLayout: layout}
		dict := newLayer(t, c).StateDict()
		require.Equal(t, []int{1, 1, 4}, dict["bias_k"].Shape)
		require.Equal(t, []int{1, 1, 4}, dict["bias_v"].Shape)
	}
}
