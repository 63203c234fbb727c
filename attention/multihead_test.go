package attention_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
)

func randomTensor(seed uint64, shape ...int) *attention.Tensor {
	r := rand.New(rand.NewPCG(seed, 0))
	t := attention.NewTensor(shape...)
	for i := range t.Data {
		t.Data[i] = float32(r.NormFloat64())
	}
	return t
}

func TestForwardNamesEveryWrongInput(t *testing.T) {
	good := func() attention.Inputs {
		return attention.Inputs{Query: randomTensor(1, 2, 3, 4), Key: randomTensor(2, 2, 5, 6), Value: randomTensor(3, 2, 5, 7)}
	}
	for _, tc := range []struct {
		name   string
		change func(*attention.Inputs)
		errs   []string
	}{
		{"nothing", func(*attention.Inputs) {}, nil},
		{"all missing", func(in *attention.Inputs) { *in = attention.Inputs{} },
			[]string{"query: no tensor", "key: no tensor", "value: no tensor"}},
		{"no batch", func(in *attention.Inputs) { in.Query = attention.NewTensor(0, 3, 4) },
			[]string{"query: shape (0, 3, 4), want (B, L, 4) with no dimension 0"}},
		{"two dimensions", func(in *attention.Inputs) { in.Query = attention.NewTensor(3, 4) }, []string{"query: shape (3, 4)"}},
		{"widths swapped", func(in *attention.Inputs) { in.Key, in.Value = in.Value, in.Key },
			[]string{"key: shape (2, 5, 7), want (B, S, 6)", "value: shape (2, 5, 6), want (B, S, 7)"}},
		{"other batch", func(in *attention.Inputs) { in.Key = attention.NewTensor(1, 5, 6) },
			[]string{"key: shape (1, 5, 6), want (B, S, kdim) (2, 5, 6)"}},
		{"other length", func(in *attention.Inputs) { in.Value = attention.NewTensor(2, 4, 7) },
			[]string{"value: shape (2, 4, 7), want (B, S, vdim) (2, 5, 7)"}},
		{"masks", func(in *attention.Inputs) { in.Block, in.Padding = attention.NewMask(5, 3), attention.NewMask(2, 3) },
			[]string{"block: shape (5, 3), want (L, S) (3, 5)", "padding: shape (2, 3), want (B, S) (2, 5)"}},
		{"short data", func(in *attention.Inputs) { in.Query.Data = in.Query.Data[1:] }, []string{"query: shape (2, 3, 4) needs 24 elements, the data has 23"}},
		{"short mask", func(in *attention.Inputs) { in.Padding = &attention.Mask{Shape: []int{2, 5}} }, []string{"padding: shape (2, 5) needs 10"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newLayer(t, attention.Config{EmbedDim: 4, NumHeads: 2, KDim: 6, VDim: 7})
			in := good()
			tc.change(&in)
			out, err := m.Forward(in)
			if tc.errs == nil {
				require.NoError(t, err)
				require.Equal(t, []int{2, 3, 4}, out.Output.Shape)
				return
			}
			for _, want := range tc.errs {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func TestSDPARefuses(t *testing.T) {
	q, k, v := randomTensor(1, 2, 3, 4), randomTensor(2, 2, 5, 4), randomTensor(3, 2, 5, 6)
	for _, tc := range []struct {
		name    string
		q, k, v *attention.Tensor
		o       attention.SDPAOptions
		err     string
	}{
		{"no value", q, k, nil, attention.SDPAOptions{}, "value: no tensor"},
		{"two dimensions", randomTensor(1, 3, 4), k, v, attention.SDPAOptions{}, "query: shape (3, 4), want 3 or more dimensions"},
		{"no query", attention.NewTensor(2, 0, 4), k, v, attention.SDPAOptions{}, "query: shape (2, 0, 4)"},
		{"key width", q, randomTensor(2, 2, 5, 3), v, attention.SDPAOptions{}, "key: shape (2, 5, 3) does not fit query (2, 3, 4)"},
		{"key batch", q, randomTensor(3, 3, 5, 4), v, attention.SDPAOptions{}, "key: shape (3, 5, 4) does not fit query (2, 3, 4)"},
		{"value length", q, k, randomTensor(3, 2, 4, 6), attention.SDPAOptions{}, "value: shape (2, 4, 6) does not fit key (2, 5, 4)"},
		{"mask shape", q, k, v, attention.SDPAOptions{Allow: attention.NewMask(5, 3)}, "allow: shape (5, 3) does not broadcast to the scores' (2, 3, 5)"},
		{"mask rank", q, k, v, attention.SDPAOptions{Bias: attention.NewTensor(1, 1, 3, 5)}, "bias: shape (1, 1, 3, 5) does not broadcast"},
		{"short mask", q, k, v, attention.SDPAOptions{Allow: &attention.Mask{Shape: []int{3, 5}}}, "allow: shape (3, 5) needs 15 elements"},
		{"both masks", q, k, v, attention.SDPAOptions{Allow: attention.NewMask(3, 5), Bias: attention.NewTensor(3, 5)}, "allow and bias exclude each other"},
		{"mask and causality", q, k, v, attention.SDPAOptions{Allow: attention.NewMask(3, 5), Causality: attention.TopLeft}, "a mask and causality exclude each other"},
		{"unknown choices", q, k, v, attention.SDPAOptions{Causality: 7, EmptyRow: 8}, "unknown causality 7\nunknown empty row 8"},
		{"scale", q, k, v, attention.SDPAOptions{Scale: math.NaN()}, "scale NaN is not finite"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := attention.SDPA(tc.q, tc.k, tc.v, tc.o)
			require.ErrorContains(t, err, tc.err)
		})
	}
}

// A causal layer is what you get without asking.
func TestCausalByDefault(t *testing.T) {
	c := attention.Config{EmbedDim: 4, NumHeads: 2}
	for _, tc := range []struct {
		bidirectional, reaches bool
	}{{false, false}, {true, true}} {
		c.Bidirectional = tc.bidirectional
		m := newLayer(t, c)
		_, err := m.LoadStateDict(filled(m.StateDict(), 3), attention.Strict)
		require.NoError(t, err)
		require.Equal(t, tc.bidirectional, m.Config().Bidirectional)
		x := randomTensor(4, 2, 6, 4)
		before := forward(t, m, attention.Inputs{Query: x, Key: x, Value: x})
		x.Data[len(x.Data)-1]++ // the last token of batch element 1
		after := forward(t, m, attention.Inputs{Query: x, Key: x, Value: x})
		second := before.Data[6*4:]
		require.Equal(t, tc.reaches, !equalBits(second[:5*4], after.Data[6*4:][:5*4]), "does a later token reach earlier rows?")
		require.Equal(t, before.Data[:6*4], after.Data[:6*4], "batch element 0 depends on batch element 1")
	}
}

func forward(t *testing.T, m *attention.MultiHead, in attention.Inputs) *attention.Tensor {
	t.Helper()
	out, err := m.Forward(in)
	require.NoError(t, err)
	return out.Output
}

func equalBits(a, b []float32) bool {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return true
}

func TestOneToken(t *testing.T) {
	m := newLayer(t, attention.Config{EmbedDim: 4, NumHeads: 2, ParamLayout: attention.SeedLayout, WithoutBias: true})
	dict := m.StateDict()
	for i := range 4 { // value doubles, output passes on
		dict["W_V"].Data[i*4+i], dict["W_O"].Data[i*4+i] = 2, 1
	}
	_, err := m.LoadStateDict(dict, attention.Strict)
	require.NoError(t, err)
	x := &attention.Tensor{Shape: []int{1, 1, 4}, Data: []float32{1, 2, 3, 4}}
	require.Equal(t, []float32{2, 4, 6, 8}, forward(t, m, attention.Inputs{Query: x, Key: x, Value: x}).Data)
}

// A query that sees no key: zeros or NaN, as the configuration says; the other rows stay as they are.
func TestEmptyRows(t *testing.T) {
	padding := attention.NewMask(2, 3)
	padding.Data[0] = true // key 0 of batch element 0, so that query 0 sees none
	x := randomTensor(5, 2, 3, 4)
	for _, empty := range []attention.EmptyRow{attention.EmptyZero, attention.EmptyNaN} {
		m := newLayer(t, attention.Config{EmbedDim: 4, NumHeads: 2, EmptyRow: empty})
		dict := filled(m.StateDict(), 6)
		_, err := m.LoadStateDict(dict, attention.Strict)
		require.NoError(t, err)
		out := forward(t, m, attention.Inputs{Query: x, Key: x, Value: x, Padding: padding}).Data
		for i, v := range out {
			switch {
			case i >= 4:
				require.False(t, math.IsNaN(float64(v)), "element %d", i)
			case empty == attention.EmptyNaN:
				require.True(t, math.IsNaN(float64(v)), "element %d is %v", i, v)
			default:
				require.Equal(t, dict["out_proj.bias"].Data[i], v)
			}
		}
	}
}

func TestBlockAndPaddingHideKeys(t *testing.T) {
	m := newLayer(t, attention.Config{EmbedDim: 4, NumHeads: 2, Bidirectional: true})
	_, err := m.LoadStateDict(filled(m.StateDict(), 7), attention.Strict)
	require.NoError(t, err)
	x := randomTensor(8, 1, 3, 4)
	padding, block := attention.NewMask(1, 3), attention.NewMask(3, 3)
	padding.Data[2] = true
	for i := range 3 {
		block.Data[i*3+2] = true
	}
	byPadding := forward(t, m, attention.Inputs{Query: x, Key: x, Value: x, Padding: padding})
	byBlock := forward(t, m, attention.Inputs{Query: x, Key: x, Value: x, Block: block})
	require.Equal(t, byPadding.Data, byBlock.Data)
	require.NotEqual(t, byPadding.Data, forward(t, m, attention.Inputs{Query: x, Key: x, Value: x}).Data)
}

// The same numbers whatever the number of processors: each output element is one goroutine's work.
func TestForwardIsDeterministic(t *testing.T) {
	m := newLayer(t, attention.Config{EmbedDim: 40, NumHeads: 4})
	_, err := m.LoadStateDict(filled(m.StateDict(), 9), attention.Strict)
	require.NoError(t, err)
	x := randomTensor(10, 5, 9, 40)
	first := forward(t, m, attention.Inputs{Query: x, Key: x, Value: x})
	for range 5 {
		require.True(t, equalBits(first.Data, forward(t, m, attention.Inputs{Query: x, Key: x, Value: x}).Data))
	}
}

func TestScale(t *testing.T) {
	q := &attention.Tensor{Shape: []int{1, 1, 1}, Data: []float32{2}}
	k := &attention.Tensor{Shape: []int{1, 2, 1}, Data: []float32{3, 1}}
	v := &attention.Tensor{Shape: []int{1, 2, 1}, Data: []float32{1, 0}}
	for _, scale := range []float64{0, 1, 0.25} {
		out, err := attention.SDPA(q, k, v, attention.SDPAOptions{Scale: scale})
		require.NoError(t, err)
		if scale == 0 {
			scale = 1 // the default, 1/sqrt(E)
		}
		require.InEpsilon(t, 1/(1+math.Exp(-4*scale)), out.Data[0], 1e-6)
	}
}

func TestZeroMultiHeadIsRefused(t *testing.T) {
	var m attention.MultiHead
	x := attention.NewTensor(1, 1, 0)
	_, err := m.Forward(attention.Inputs{Query: x, Key: x, Value: x})
	require.ErrorContains(t, err, "the layer was not made by New")
}

func ExampleMultiHead() {
	layer, err := attention.New(attention.Config{EmbedDim: 2, NumHeads: 1, ParamLayout: attention.SeedLayout, WithoutBias: true})
	if err != nil {
		panic(err)
	}
	identity := &attention.Tensor{Shape: []int{2, 2}, Data: []float32{1, 0, 0, 1}}
	_, err = layer.LoadStateDict(attention.StateDict{"W_Q": identity, "W_K": identity, "W_V": identity}, attention.Strict)
	fmt.Println(err)

	_, err = layer.LoadStateDict(attention.StateDict{"W_Q": identity, "W_K": identity, "W_V": identity, "W_O": identity}, attention.Strict)
	fmt.Println(err)
	x := &attention.Tensor{Shape: []int{1, 2, 2}, Data: []float32{1, 0, 0, 1}}
	out, err := layer.Forward(attention.Inputs{Query: x, Key: x, Value: x})
	fmt.Printf("%.6f %v\n", out.Output.Data, err)
	// Output:
	// error(s) in loading state_dict for MultiHead:
	// 	missing key(s) in state_dict: "W_O"
	// <nil>
	// [1.000000 0.000000 0.330238 0.669762] <nil>
}

// Two keys that are the same share the weight of a query; the causal mask hides the second from the first query.
func ExampleSDPA() {
	q := &attention.Tensor{Shape: []int{1, 2, 1}, Data: []float32{1, 1}}
	v := &attention.Tensor{Shape: []int{1, 2, 1}, Data: []float32{10, 20}}
	out, err := attention.SDPA(q, q, v, attention.SDPAOptions{Causality: attention.TopLeft})
	if err != nil {
		panic(err)
	}
	fmt.Println(out.Shape, out.Data)
	// Output:
	// [1 2 1] [10 15]
}
