package oracle

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Swapped weights, reordered rows of weights and reordered inputs need no new product. A changed
// number needs new products with its row alone. The result is the same as without a cache.
func TestProductsAreFoundByTheirContents(t *testing.T) {
	const batch, length, width = 2, 5, 8
	r := rand.New(rand.NewPCG(5, 5))
	random := func(n int) []float64 {
		all := make([]float64, n)
		for i := range all {
			all[i] = r.NormFloat64()
		}
		return all
	}
	linear := func() Linear {
		return Linear{Weight: random(width * width), Bias: random(width), In: width, Out: width}
	}
	x := Array{[]int{batch, length, width}, random(batch * length * width)}
	first := (&Problem{Query: x, Key: x, Value: x, Scale: 0.5, Layer: &Layer{
		Heads: 2, KVHeads: 2, Query: linear(), Key: linear(), Value: linear(), Output: linear(),
	}}).Cached()
	first.Run()
	for name, tc := range map[string]struct {
		rows   int // rows of weights whose products are new
		change func(p *Problem)
	}{
		"nothing": {0, func(*Problem) {}},
		"swapped weights": {0, func(p *Problem) {
			p.Layer.Query.Weight, p.Layer.Value.Weight = p.Layer.Value.Weight, p.Layer.Query.Weight
		}},
		"rows in another order": {0, func(p *Problem) {
			w := p.Layer.Key.Weight
			p.Layer.Key.Weight = slices.Concat(w[3*width:], w[:3*width])
		}},
		"inputs in another order": {0, func(p *Problem) {
			p.Value.Value = slices.Concat(x.Value[2*width:], x.Value[:2*width])
		}},
		"another bias":  {0, func(p *Problem) { p.Layer.Key.Bias = random(width) }},
		"another scale": {0, func(p *Problem) { p.Scale = 2 }},
		"one number": {1, func(p *Problem) {
			p.Layer.Key.Weight = slices.Clone(p.Layer.Key.Weight)
			p.Layer.Key.Weight[2*width+5]++
		}},
		"zeros": {1, func(p *Problem) { p.Layer.Value.Weight = make([]float64, width*width) }},
	} {
		t.Run(name, func(t *testing.T) {
			wrong := first.Fork()
			tc.change(wrong)
			alone := wrong.Clone()
			room := first.cache.products.room
			got := wrong.Run()
			products := (room - first.cache.products.room) / (batch*length + width)
			if tc.rows == 0 {
				require.Zero(t, products)
			} else {
				require.Positive(t, products)
			}
			require.Equal(t, alone.Run(), got)
		})
	}
}

// The owner's weights are not looked for among each other, and the product with each is made once.
func TestProductsOfTheOwner(t *testing.T) {
	const width = 3
	x := []float64{1, 2, 3, 4, 5, 6}
	w := []float64{1, 0, 0, 0, 1, 0}
	p := &products{room: roomForProducts}
	s := &pass{Problem: &Problem{}, ctx: t.Context()}
	for _, tc := range []struct {
		weights []float64
		own     bool
		want    []float64
		room    int // for the input, a product and its weight
	}{
		{w, true, []float64{1, 2, 4, 5}, 6 + 4 + 6},
		{w, true, []float64{1, 2, 4, 5}, 0},
		{slices.Clone(w), true, []float64{1, 2, 4, 5}, 4 + 6},
		{slices.Clone(w), false, []float64{1, 2, 4, 5}, 0},
		{[]float64{0, 1, 0, 1, 1, 1}, false, []float64{2, 6, 5, 15}, 2 + 3}, // one row is new
	} {
		room, y := p.room, make([]float64, 4)
		require.True(t, p.multiply(s, y, x, &weight{value: tc.weights, in: width, out: 2}, nil, tc.own))
		require.Equal(t, tc.want, y)
		require.Equal(t, tc.room, room-p.room)
	}
}

// Two rows with the same hash are not mistaken for each other.
func TestEqualHashesAreNotEnough(t *testing.T) {
	known, other := []float64{1, 2, 3, 4}, []float64{1, 2, 3, 5}
	b := &block{value: []float64{30}, weight: known, n: 1}
	in := &cachedInput{
		value: known, width: 4,
		rows:    map[uint64][]int{hash(other): {0}},
		columns: map[uint64][]column{hash(known): {{b, 0}}, hash(other): {{b, 0}}},
	}
	_, missing := in.find(known, false)
	require.Empty(t, missing)
	_, missing = in.find(other, false)
	require.Equal(t, []int{0}, missing)
	require.Nil(t, in.places(other))

	all := products{inputs: []*cachedInput{in}}
	found, places := all.find(known, 4)
	require.Same(t, in, found)
	require.Nil(t, places)
	found, _ = all.find(known, 2)
	require.Nil(t, found, "rows of another width")
}

// Products take no more room than there is, and the result is the same without them.
func TestRoomForProducts(t *testing.T) {
	want := whole().Run()
	for _, room := range []int{0, 35, 36, 37, 200, 228, 229, 300, 36 + 16*(6+6), 36 + 16*(6+6) - 1, 1 << 20} {
		known := &products{room: room}
		p := whole().Fork()
		p.cache = newCache(p, known)
		require.Equal(t, want, p.Run(), room)
		require.GreaterOrEqual(t, known.room, 0)
		used := 0
		for _, in := range known.inputs {
			used += len(in.value)
			for _, b := range in.blocks {
				used += len(b.value) + len(b.weight)
			}
		}
		require.Equal(t, room-used, known.room, "%d: what is kept has its room", room)
		require.Equal(t, room >= 36, len(known.inputs) > 0, room)
		require.Equal(t, want, p.Fork().Run())
	}
}
