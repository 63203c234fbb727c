package reorder_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/reorder"
)

const sigma = 1e-6

// random returns an expected output of N(0,1) values.
func random(seed uint64, shape ...int) compare.Expected {
	r := rand.New(rand.NewPCG(seed, 7))
	e := compare.Expected{Shape: shape}
	for range num.Size(shape) {
		e.Value, e.Sigma = append(e.Value, r.NormFloat64()), append(e.Sigma, sigma)
	}
	return e
}

// fill computes an array from the values that it has at each index.
func fill(shape []int, at func(index []int) float64) []float64 {
	index := make([]int, len(shape))
	var values []float64
	for range num.Size(shape) {
		values = append(values, at(index))
		for d := len(shape) - 1; d >= 0; d-- {
			index[d]++
			if index[d] < shape[d] {
				break
			}
			index[d] = 0
		}
	}
	return values
}

// get returns an element of a row-major array.
func get(shape []int, values []float64, index ...int) float64 {
	at := 0
	for d, i := range index {
		at = at*shape[d] + i
	}
	return values[at]
}

// noisy adds noise of one sigma.
func noisy(values []float64) []float64 {
	r := rand.New(rand.NewPCG(3, 3))
	out := slices.Clone(values)
	for i := range out {
		out[i] += sigma * r.NormFloat64()
	}
	return out
}

// Each output holds the expected values (B, T, H*E) or (B, H, T, E) in another order. The order
// that is found undoes it, and is the only one.
func TestFind(t *testing.T) {
	const b, h, tt, e = 3, 4, 5, 6
	layer, heads := random(1, b, tt, h*e), random(2, b, h, tt, e)
	atLayer := func(i ...int) float64 { return get(layer.Shape, layer.Value, i...) }
	atHeads := func(i ...int) float64 { return get(heads.Shape, heads.Value, i...) }
	other, fourth := []int{2, 0, 3, 1, 4}, []int{3, 1, 0, 2}
	for _, tc := range []struct {
		name  string
		want  compare.Expected
		shape []int
		at    func(i []int) float64
		says  string
	}{
		{"sequence first", layer, []int{tt, b, h * e},
			func(i []int) float64 { return atLayer(i[1], i[0], i[2]) }, "output.transpose(0, 1)"},
		{"all axes moved on", layer, []int{h * e, b, tt},
			func(i []int) float64 { return atLayer(i[1], i[2], i[0]) }, "output.permute(1, 2, 0)"},
		{"sequence first, in the expected shape", layer, layer.Shape,
			func(i []int) float64 {
				n := i[0]*tt + i[1]
				return atLayer(n%b, n/b, i[2])
			}, "output.reshape(5, 3, 24).transpose(0, 1)"},
		{"column-major memory", layer, layer.Shape,
			func(i []int) float64 {
				n := (i[0]*tt+i[1])*h*e + i[2]
				return atLayer(n%b, n/b%tt, n/b/tt)
			}, "output.reshape(24, 5, 3).transpose(0, 2)"},
		{"row-major memory read as column-major", layer, layer.Shape,
			func(i []int) float64 {
				n := (i[2]*tt+i[1])*b + i[0]
				return atLayer(n/(h*e)/tt, n/(h*e)%tt, n%(h*e))
			}, "output.transpose(0, 2).reshape(3, 5, 24)"},
		{"heads not merged", layer, []int{b, h, tt, e},
			func(i []int) float64 { return atLayer(i[0], i[2], i[1]*e+i[3]) },
			"output.transpose(1, 2).reshape(3, 5, 24)"},
		{"heads not merged, sequence first", layer, []int{tt, b, h, e},
			func(i []int) float64 { return atLayer(i[1], i[0], i[2]*e+i[3]) },
			"output.reshape(5, 3, 24).transpose(0, 1)"},
		{"heads merged", heads, []int{b, tt, h * e},
			func(i []int) float64 { return atHeads(i[0], i[2]/e, i[1], i[2]%e) },
			"output.reshape(3, 5, 4, 6).transpose(1, 2)"},
		{"heads before the batch", heads, []int{h, b, tt, e},
			func(i []int) float64 { return atHeads(i[1], i[0], i[2], i[3]) }, "output.transpose(0, 1)"},
		{"features interleaved across heads", layer, layer.Shape,
			func(i []int) float64 { return atLayer(i[0], i[1], i[2]%h*e+i[2]/h) },
			"output.reshape(3, 5, 6, 4).transpose(2, 3).reshape(3, 5, 24)"},
		{"a leading 1", layer, []int{1, b, tt, h * e},
			func(i []int) float64 { return atLayer(i[1:]...) }, "output.reshape(3, 5, 24)"},
		{"a trailing 1", layer, []int{b, tt, h * e, 1},
			func(i []int) float64 { return atLayer(i[:3]...) }, "output.reshape(3, 5, 24)"},
		{"batch and rows in one axis", layer, []int{b * tt, h * e},
			func(i []int) float64 { return atLayer(i[0]/tt, i[0]%tt, i[1]) }, "output.reshape(3, 5, 24)"},
		{"flat", heads, []int{b * h * tt * e},
			func(i []int) float64 { return heads.Value[i[0]] }, "output.reshape(3, 4, 5, 6)"},
		{"features reversed", layer, layer.Shape,
			func(i []int) float64 { return atLayer(i[0], i[1], h*e-1-i[2]) }, "output.flip(2)"},
		{"rows reversed", heads, heads.Shape,
			func(i []int) float64 { return atHeads(i[0], i[1], tt-1-i[2], i[3]) }, "output.flip(2)"},
		{"heads reversed", heads, heads.Shape,
			func(i []int) float64 { return atHeads(i[0], h-1-i[1], i[2], i[3]) }, "output.flip(1)"},
		{"everything reversed", heads, heads.Shape,
			func(i []int) float64 { return atHeads(b-1-i[0], h-1-i[1], tt-1-i[2], e-1-i[3]) },
			"output.flip(0, 1, 2, 3)"},
		{"heads reversed within the rows", layer, layer.Shape,
			func(i []int) float64 { return atLayer(i[0], i[1], (h-1-i[2]/e)*e+i[2]%e) },
			"output.reshape(3, 5, 4, 6).flip(2).reshape(3, 5, 24)"},
		{"rows one late", layer, layer.Shape,
			func(i []int) float64 { return atLayer(i[0], (i[1]+tt-1)%tt, i[2]) }, "output.roll(-1, 1)"},
		{"rows one early", layer, layer.Shape,
			func(i []int) float64 { return atLayer(i[0], (i[1]+1)%tt, i[2]) }, "output.roll(1, 1)"},
		{"rows in another order", layer, layer.Shape,
			func(i []int) float64 { return atLayer(i[0], other[i[1]], i[2]) },
			"output.index_select(1, tensor([1, 3, 0, 2, 4]))"},
		{"heads in another order within the rows", layer, layer.Shape,
			func(i []int) float64 { return atLayer(i[0], i[1], fourth[i[2]/e]*e+i[2]%e) },
			"output.reshape(3, 5, 4, 6).index_select(2, tensor([2, 1, 3, 0])).reshape(3, 5, 24)"},
		{"batch elements in another order, sequence first", layer, []int{tt, b, h * e},
			func(i []int) float64 { return atLayer(b-1-i[1], i[0], i[2]) }, "output.transpose(0, 1).flip(0)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			found := reorder.Find(tc.shape, noisy(fill(tc.shape, tc.at)), tc.want)
			require.NotEmpty(t, found)
			require.Len(t, found, 1, found)
			require.Equal(t, tc.says, found[0].String())
			require.Less(t, found[0].Residual, 2*sigma)
			require.Less(t, found[0].MaxZ, 6.)

			// One element that is not there refutes every order.
			wrong := noisy(fill(tc.shape, tc.at))
			wrong[len(wrong)/3] += 20 * sigma
			require.Empty(t, reorder.Find(tc.shape, wrong, tc.want))
		})
	}
}

// Outputs that hold other values, or another number of them, have no order.
func TestNothingFits(t *testing.T) {
	want := random(1, 3, 4, 6)
	require.Empty(t, reorder.Find(want.Shape, random(2, 3, 4, 6).Value, want))
	require.Empty(t, reorder.Find([]int{3, 4, 5}, want.Value[:60], want))
	scaled := slices.Clone(want.Value)
	for i := range scaled {
		scaled[i] *= -1
	}
	require.Empty(t, reorder.Find([]int{4, 3, 6}, scaled, want))

	shuffled := slices.Clone(want.Value) // no order of axes or indices
	shuffled[1], shuffled[50] = shuffled[50], shuffled[1]
	require.Empty(t, reorder.Find(want.Shape, shuffled, want))
}

// Values that repeat, or that the noise does not tell apart, prove no order.
func TestTooFewValues(t *testing.T) {
	want := random(1, 4, 8, 2)
	for i := range want.Value {
		want.Value[i] = float64(i % 7)
	}
	reversed := slices.Clone(want.Value)
	slices.Reverse(reversed)
	require.Empty(t, reorder.Find([]int{8, 4, 2}, reversed, want))

	vague := random(1, 3, 4)
	for i := range vague.Sigma {
		vague.Sigma[i] = 0.1 // 16 sigma are as far as any two values are apart
	}
	require.Empty(t, reorder.Find([]int{4, 3}, fill([]int{4, 3}, func(i []int) float64 {
		return get(vague.Shape, vague.Value, i[1], i[0])
	}), vague))
}

// Rows that repeat leave several orders, and all are listed.
func TestSeveralOrders(t *testing.T) {
	want := random(1, 2, 4, 5)
	for i := range 10 { // rows 2 and 3 are rows 0 and 1 again
		want.Value[10+i], want.Value[30+i] = want.Value[i], want.Value[20+i]
	}
	got := fill(want.Shape, func(i []int) float64 { return get(want.Shape, want.Value, i[0], (i[1]+1)%4, i[2]) })
	var says []string
	for _, o := range reorder.Find(want.Shape, got, want) {
		says = append(says, o.String())
	}
	require.ElementsMatch(t, []string{"output.roll(1, 1)", "output.roll(-1, 1)", "output.flip(1)"}, says)
}

// NaN is right where NaN is expected, also after a reordering.
func TestNaN(t *testing.T) {
	want := random(1, 3, 4, 5)
	for i := range 5 {
		want.Value[i], want.Sigma[i] = math.NaN(), 0
	}
	got := fill([]int{4, 3, 5}, func(i []int) float64 { return get(want.Shape, want.Value, i[1], i[0], i[2]) })
	found := reorder.Find([]int{4, 3, 5}, got, want)
	require.Len(t, found, 1)
	require.Equal(t, "output.transpose(0, 1)", found[0].String())
}
