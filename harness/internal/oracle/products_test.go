package oracle

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Swapped weights, reordered rows of weights and reordered inputs need no new product. A changed
// number needs new products with its row alone. The result is the same as without a cache.
func TestProductsAreFoundByTheirContents(t *testing.T) {
	const batch, length, width = 2, 5, 8
	random := randomNumbers()
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
		blocks := blocksOf(p)
		require.True(t, p.multiply(s, y, x, &weight{value: tc.weights, in: width, out: 2}, nil, tc.own))
		require.Equal(t, tc.want, y)
		require.Equal(t, tc.room, room-p.room)
		require.Equal(t, tc.room > 0, blocksOf(p) > blocks, "a product takes room")
	}
}

// blocksOf returns how many products are cached.
func blocksOf(p *products) (n int) {
	for _, in := range p.inputs {
		n += len(in.blocks)
	}
	return n
}

// Some rows are taken from products that are cached, and are not computed by the cache.
func TestProductsOfSomeRows(t *testing.T) {
	x, w := []float64{1, 2, 3, 4, 5, 6}, []float64{1, 0, 0, 0, 1, 0}
	p := &products{room: roomForProducts}
	s := &pass{Problem: &Problem{}, ctx: t.Context()}
	some := func(weights []float64) (y []float64, ok bool) {
		y = make([]float64, 4)
		return y, p.multiply(s, y, x, &weight{value: weights, in: 3, out: 2}, rowSet{false, true}, false)
	}
	_, ok := some(w)
	require.False(t, ok, "the input is not cached")
	require.True(t, p.multiply(s, make([]float64, 4), x, &weight{value: w, in: 3, out: 2}, nil, true))
	room := p.room
	y, ok := some([]float64{0, 1, 0, 1, 0, 0})
	require.True(t, ok)
	require.Equal(t, []float64{0, 0, 5, 4}, y)
	for _, weights := range [][]float64{{1, 0, 0, 7, 7, 7}, {8, 8, 8, 7, 7, 7}} {
		y, ok = some(weights)
		require.False(t, ok)
		require.Zero(t, y[2]+y[3])
	}
	require.Equal(t, room, p.room)
}

// No row of a weight is forgotten, however many rows are computed at once.
func TestMultiplyEveryWidth(t *testing.T) {
	for _, out := range []int{1, 2, mostTogether - 1, mostTogether, mostTogether + 1, 2*mostTogether + 1} {
		for _, count := range []int{1, 2, 30, mostTogether + 1} {
			w, x := make([]float64, out*2), make([]float64, count*2)
			want := make([]float64, count*out)
			for o := range out {
				w[2*o], w[2*o+1] = float64(o), 1
			}
			for row := range count {
				x[2*row], x[2*row+1] = float64(row+1), float64(-row)
				for o := range out {
					want[row*out+o] = float64((row+1)*o - row)
				}
			}
			s, y := &pass{Problem: &Problem{}, ctx: t.Context()}, make([]float64, count*out)
			s.multiply(y, x, &weight{value: w, in: 2, out: out}, nil)
			require.Equal(t, want, y, "%d rows, %d features", count, out)
		}
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
