package oracle_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// jointly computes the context of each row (B, 2, 3) and one feature of the values, if the softmax
// runs over all scores of the same group. A group may have more exponentials beside the scores.
func jointly(p *oracle.Problem, group func(n, i, j int) [2]int, sinks func(g [2]int) []float64) []noisy {
	const heads, queries, keys, width = 2, 3, 4, 2
	type place struct{ n, i, j int }
	scores, groups := map[place]noisy{}, map[[2]int][]place{}
	for n := range p.Query.Shape[0] * heads {
		for i := range queries {
			for j := range keys {
				if p.Causal(i+p.Offset, j) && !p.Padding.Data[n/heads*keys+j] {
					q, k := p.Query.Value[(n*queries+i)*width:][:width], p.Key.Value[(n*keys+j)*width:][:width]
					at := place{n, i, j}
					scores[at] = scored(p.Scale, exact(q...), exact(k...))
					groups[group(n, i, j)] = append(groups[group(n, i, j)], at)
				}
			}
		}
	}
	weights := map[place]noisy{}
	for g, all := range groups {
		top, total, variance, squares := math.Inf(-1), 0.0, 0.0, 0.0
		for _, at := range all {
			top = math.Max(top, scores[at].value)
		}
		for _, s := range sinks(g) {
			top = math.Max(top, s)
		}
		for _, at := range all {
			total += math.Exp(scores[at].value - top)
		}
		for _, s := range sinks(g) {
			total += math.Exp(s - top)
		}
		own := map[place]noisy{}
		for _, at := range all {
			off := scores[at].value - top
			own[at] = noisy{math.Exp(off) / total, scores[at].variance + r*off*off + 4*0x1p-48}
			variance += own[at].value * own[at].value * own[at].variance
			squares += own[at].value * own[at].value
		}
		for _, at := range all {
			w := own[at]
			others := variance - w.value*w.value*w.variance
			relative := (1-w.value)*(1-w.value)*w.variance + others + ofOne(len(all), squares) + 2*r
			weights[at] = noisy{w.value, relative}
		}
	}
	var out []noisy
	for n := range p.Query.Shape[0] * heads {
		for i := range queries {
			var own, values []noisy
			for j := range keys {
				if w, ok := weights[place{n, i, j}]; ok {
					own, values = append(own, w), append(values, noisy{value: p.Value.Value[n*keys+j]})
				}
			}
			out = append(out, unnormalised(own, values))
		}
	}
	return out
}

// unnormalised returns the context of weights, with relative variances, that do not sum to one.
func unnormalised(weights, values []noisy) noisy {
	var products []float64
	value, carried, squares := 0.0, 0.0, 0.0
	for n, w := range weights {
		v := values[n].value
		products = append(products, w.value*v)
		value += w.value * v
		carried += v * v * moved(w.value, w.variance)
		squares += w.value * w.value
	}
	return noisy{value, sum(products...) + carried + value*value*(ofOne(len(products), squares)+2*r)}
}

// ofOne returns the rounding of a sum of n products whose sum is 1.
func ofOne(n int, squares float64) float64 {
	return r * (float64(n)/3 + float64(n)*squares/6 + squares + 1)
}

// joint returns a problem of two batch elements and two heads, whose first query sees no key.
func joint(axis oracle.Axis) *oracle.Problem {
	random := rand.New(rand.NewPCG(7, 9))
	p := &oracle.Problem{
		Query: tensor(random, 1, 0, 2, 2, 3, 2), Key: tensor(random, 1, 0, 2, 2, 4, 2), Value: tensor(random, 1, 0.5, 2, 2, 4, 1),
		Scale: 0.8, Causal: causal, Padding: attention.NewMask(2, 4), Sinks: []float64{0.4, -0.3},
	}
	p.Padding.Data[0], p.Padding.Data[6] = true, true
	p.Axis = axis
	return p
}

// A softmax over other dimensions than the keys normalises all scores of a group together. Sinks
// take part where the keys do. Some rows alone are the same rows of all.
func TestSoftmaxOfSeveralRows(t *testing.T) {
	none := func([2]int) []float64 { return nil }
	for _, tc := range []struct {
		axis  oracle.Axis
		group func(n, i, j int) [2]int
		sinks func(g [2]int) []float64
	}{
		{oracle.OverQueries, func(n, _, j int) [2]int { return [2]int{n, j} }, none},
		{oracle.OverHeads, func(n, i, j int) [2]int { return [2]int{n / 2, 4*i + j} }, none},
		{oracle.OverBatch, func(n, i, j int) [2]int { return [2]int{n % 2, 4*i + j} }, none},
		{
			oracle.OverHeadsAndKeys, func(n, i, _ int) [2]int { return [2]int{n / 2, i} },
			func([2]int) []float64 { return []float64{0.4, -0.3} },
		},
	} {
		p := joint(tc.axis)
		got := p.Run()
		for row, want := range jointly(p, tc.group, tc.sinks) {
			if want.variance == 0 { // the row sees no key
				require.Zero(t, got.Value[row])
				require.InDelta(t, 0, got.Variance[row], 1e-70)
				continue
			}
			require.InEpsilon(t, want.value, got.Value[row], 1e-12, "axis %d, row %d", tc.axis, row)
			require.InEpsilon(t, want.variance, got.Variance[row], 1e-11, "axis %d, row %d", tc.axis, row)
		}
		for row := range got.Value {
			some, err := p.Rows(context.Background(), []int{row}, oracle.WithNoise)
			require.NoError(t, err)
			require.Equal(t, []float64{got.Value[row], got.Variance[row]}, []float64{some.Value[0], some.Variance[0]})
		}
		p.EmptyRow = attention.EmptyNaN
		require.Zero(t, p.Run().Value[0], "a sink")
		p.Sinks = nil
		require.True(t, math.IsNaN(p.Run().Value[0]))
		require.False(t, math.IsNaN(p.Run().Value[1]))
	}
	p := joint(oracle.OverHeadsAndKeys)
	p.Sinks = nil
	unsunk := jointly(p, func(n, i, _ int) [2]int { return [2]int{n / 2, i} }, none)
	require.InEpsilon(t, unsunk[8].value, p.Run().Value[8], 1e-12)
	p.Sinks, p.ZeroKeys = []float64{900, 0.1}, 3 // a sink above all scores
	sunk := jointly(p, func(n, i, _ int) [2]int { return [2]int{n / 2, i} }, func([2]int) []float64 { return []float64{900, 0.1, 0, 0, 0, 0, 0, 0} })
	require.InDelta(t, sunk[8].value, p.Run().Value[8], 0)
	p.Sinks = []float64{1.5, 0.1}
	sunk = jointly(p, func(n, i, _ int) [2]int { return [2]int{n / 2, i} }, func([2]int) []float64 { return []float64{1.5, 0.1, 0, 0, 0, 0, 0, 0} })
	require.InEpsilon(t, sunk[8].value, p.Run().Value[8], 1e-12)
}

// Some rows of a result are the same rows of the whole result, to the last bit, whatever moves
// heads, features and rows.
func TestSomeRowsOfAResult(t *testing.T) {
	lower := oracle.BFloat16
	for name, change := range map[string]func(p *oracle.Problem){
		"plain":  func(*oracle.Problem) {},
		"stored": func(p *oracle.Problem) { p.Stored = &lower },
		"merged in another order": func(p *oracle.Problem) {
			p.Layer.MergeIndex = func(s oracle.Sizes, head, t, feature int) int { return (head*s.Length+t)*s.Width + feature }
		},
		"split in another order": func(p *oracle.Problem) {
			p.Layer.SplitIndex = func(s oracle.Sizes, head, t, feature int) int { return (head*s.Length+t)*s.Width + feature }
		},
		"over the heads":   func(p *oracle.Problem) { p.Axis = oracle.OverHeads },
		"over the batch":   func(p *oracle.Problem) { p.Axis = oracle.OverBatch },
		"over the queries": func(p *oracle.Problem) { p.Axis = oracle.OverQueries },
		"another batch element's keys": func(p *oracle.Problem) {
			p.KVHead = func(head int) int { return 3 - head/2 }
		},
		"prepared": func(p *oracle.Problem) {
			p.Prepare = func(q, _, _ *oracle.Field) {
				for i := range q.Value[1:] {
					q.Value[i] += q.Value[i+1]
				}
			}
		},
		"mixed": func(p *oracle.Problem) {
			p.Mix = func(x oracle.Field) oracle.Field { // each head takes the next one's context
				y := x.ZerosLike()
				head := x.Shape[2] * x.Shape[3]
				for n := range x.Shape[0] * x.Shape[1] {
					from := n
					if n%4 != 3 {
						from++
					}
					y.Take(n*head, x, from*head, head)
				}
				return y
			}
		},
		"finished": func(p *oracle.Problem) {
			p.Finish = func(x oracle.Field) oracle.Field { // a row later, and two elements
				y := x.ZerosLike()
				y.Take(x.Shape[2]+2, x, 0, len(x.Value)-x.Shape[2]-2)
				return y
			}
		},
	} {
		random := rand.New(rand.NewPCG(1, 1))
		p := &oracle.Problem{Query: tensor(random, 1, 0, 2, 5, 7), Scale: 0.5, Causal: causal, Layer: &oracle.Layer{
			Heads: 4, KVHeads: 2, Query: linear(random, 0.4, true, 12, 7), Key: linear(random, 0.4, false, 6, 7),
			Value: linear(random, 0.4, true, 6, 7), Output: linear(random, 0.4, true, 7, 12),
		}}
		p.Key, p.Value = p.Query, p.Query
		change(p)
		whole := p.Run()
		width := whole.Shape[2]
		for _, rows := range [][]int{{0}, {3}, {1, 4, 7}, {9}, {0, 5}} {
			some, err := p.Rows(context.Background(), rows, oracle.WithNoise)
			require.NoError(t, err)
			for i, row := range rows {
				require.Equal(t, whole.Value[row*width:][:width], some.Value[i*width:][:width], "%s: row %d", name, row)
				require.Equal(t, whole.Variance[row*width:][:width], some.Variance[i*width:][:width], "%s: row %d", name, row)
			}
		}
	}
}

// A row is computed by itself, whatever the row before it in memory had: a sink, and keys.
func TestRowsForgetTheRowBefore(t *testing.T) {
	array := func(shape []int, values ...float64) oracle.Array { return oracle.Array{Shape: shape, Value: values} }
	p := &oracle.Problem{
		Query: array([]int{1, 2, 1, 1}, 2, -1), Key: array([]int{1, 2, 3, 1}, 0.5, -1, 3, 0.25, 2, 1),
		Value: array([]int{1, 2, 3, 1}, 3, -2, 5, 4, 1, -3), Scale: 0.7,
		Allow: attention.NewMask(2, 1, 3), EmptyMean: true, Sinks: []float64{1.5, 0.5},
	}
	p.Allow.Data = []bool{true, true, false, false, false, false}
	whole := p.Run()
	require.InEpsilon(t, 2.0/3, whole.Value[1], 1e-15)
	for row := range 2 {
		some, err := p.Rows(context.Background(), []int{row}, oracle.WithNoise)
		require.NoError(t, err)
		require.Equal(t, whole.Variance[row], some.Variance[0])
		require.Equal(t, whole.Value[row], some.Value[0])
	}
}
