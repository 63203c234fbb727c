package oracle_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// noisy is a value and its variance, worked out here.
type noisy struct{ value, variance float64 }

func exact(values ...float64) []noisy {
	out := make([]noisy, len(values))
	for i, v := range values {
		out[i] = noisy{value: v}
	}
	return out
}

// projected is an input x times one weight for each feature.
func projected(x float64, weights ...float64) []noisy {
	var out []noisy
	for _, w := range weights {
		out = append(out, noisy{x * w, sum(x * w)})
	}
	return out
}

// scored is scale q.k: the products, what query and key carry on, the scale and its rounding.
func scored(scale float64, q, k []noisy) noisy {
	var products []float64
	var s, carried float64
	for i := range q {
		products = append(products, q[i].value*k[i].value)
		s += q[i].value * k[i].value
		carried += k[i].value*k[i].value*q[i].variance + q[i].value*q[i].value*k[i].variance
	}
	return noisy{scale * s, scale * scale * (sum(products...) + carried + 2*r*s*s)}
}

// added is a score and a term, with the rounding of their sum.
func added(s noisy, b, own float64) noisy {
	v := s.value + b
	return noisy{v, s.variance + own + r*v*v}
}

// weighed are the weights of scores, with what the softmax adds to the scores' variance: the
// subtraction of the greatest and exp, (2u)².
func weighed(scores []noisy) (weights, variance []float64) {
	top, total := math.Inf(-1), 0.0
	for _, s := range scores {
		top = math.Max(top, s.value)
	}
	for _, s := range scores {
		total += math.Exp(s.value - top)
		variance = append(variance, s.variance+r*(s.value-top)*(s.value-top)+4*0x1p-48)
	}
	for _, s := range scores {
		weights = append(weights, math.Exp(s.value-top)/total)
	}
	return weights, variance
}

// attended is the context of scores and one feature of the values.
func attended(scores, values []noisy) noisy {
	weights, variance := weighed(scores)
	var products []float64
	var out, carried float64
	for j, w := range weights {
		products = append(products, w*values[j].value)
		out += w * values[j].value
	}
	for j, w := range weights {
		off := values[j].value - out
		carried += off*off*moved(w, variance[j]) + w*w*values[j].variance
	}
	return noisy{out, sum(products...) + carried + out*out*(sum(weights...)+2*r)}
}

// moved is the variance of a weight e^s: a score that is off by a normal error of that variance makes it
// off by that of a lognormal one, to second order; all of the weight is the most.
func moved(weight, variance float64) float64 {
	return min(1, weight*weight*math.Expm1(2*variance)/2)
}

// linear1 has one input.
func linear1(weights ...float64) oracle.Linear {
	return oracle.Linear{Weight: weights, In: 1, Out: len(weights)}
}

// first passes on the first of n features.
func first(n int) oracle.Linear {
	return oracle.Linear{Weight: append([]float64{1}, make([]float64, n-1)...), In: n, Out: 1}
}

// passedOn is the context behind [first].
func passedOn(context noisy, n int) float64 {
	return sum(append([]float64{context.value}, make([]float64, n-1)...)...) + context.variance
}

// Rotary positions: each pair of features is turned by the position, divided by a factor, times a power of the base.
func TestVarianceOfRoPE(t *testing.T) {
	const q, k, v, scale, base, factor, place = 2, 0.5, 3, 0.7, 50, 4, 3
	qw, kw := []float64{0.5, -1, 0.25, 0.75}, []float64{1, 0.5, -0.5, 1.5}
	turned := func(x []noisy, position float64, pairs [][2]int) []noisy {
		y := make([]noisy, 4)
		for i, pair := range pairs {
			exponent := -float64(i) / 2 * math.Log(base)
			angle := position / factor * math.Exp(exponent)
			off := r * angle * angle * (3 + exponent*exponent) // position, power and product; the exponent
			sin, cos := math.Sincos(angle)
			a, b := x[pair[0]], x[pair[1]]
			y[pair[0]] = noisy{a.value*cos - b.value*sin, cos*cos*a.variance + sin*sin*b.variance +
				2*r*(a.value*cos*a.value*cos+b.value*sin*b.value*sin) + sum(a.value*cos, -b.value*sin) + // the table, the products
				(a.value*sin+b.value*cos)*(a.value*sin+b.value*cos)*off}
			y[pair[1]] = noisy{b.value*cos + a.value*sin, cos*cos*b.variance + sin*sin*a.variance +
				2*r*(b.value*cos*b.value*cos+a.value*sin*a.value*sin) + sum(b.value*cos, a.value*sin) +
				(a.value*cos-b.value*sin)*(a.value*cos-b.value*sin)*off}
		}
		return y
	}
	for _, tc := range []struct {
		interleaved bool
		pairs       [][2]int
	}{{false, [][2]int{{0, 2}, {1, 3}}}, {true, [][2]int{{0, 1}, {2, 3}}}} {
		turn := oracle.Rotary{Interleaved: tc.interleaved, Dim: 4, Base: base, Factor: factor, First: place}
		p := &oracle.Problem{Query: row(q), Key: column(k, -k), Value: column(v, -v), Scale: scale, Layer: &oracle.Layer{
			Heads: 1, KVHeads: 1, Query: linear1(qw...), Key: linear1(kw...), Value: linear1(1, 0, 0, 0), Output: first(4), QueryRotary: &turn, KeyRotary: &turn,
		}}
		query := turned(projected(q, qw...), place, tc.pairs)
		scores := []noisy{
			scored(scale, query, turned(projected(k, kw...), place, tc.pairs)),
			scored(scale, query, turned(projected(-k, kw...), place+1, tc.pairs)),
		}
		requireVariance(t, p, passedOn(attended(scores, []noisy{projected(v, 1)[0], projected(-v, 1)[0]}), 4))
	}
}

// Features that are not turned keep their noise.
func TestVarianceOfPartialRoPE(t *testing.T) {
	p := &oracle.Problem{Query: row(2), Key: column(1, -1), Value: column(3, -3), Scale: 1, Layer: &oracle.Layer{
		Heads: 1, KVHeads: 1, Query: linear1(0, 0, 0.5), Key: linear1(0, 0, 1.5), Value: linear1(1, 0, 0), Output: first(3),
		KeyRotary: &oracle.Rotary{Dim: 2, Base: 100, Factor: 1, First: 5},
	}}
	query := projected(2, 0, 0, 0.5)
	scores := []noisy{scored(1, query, projected(1, 0, 0, 1.5)), scored(1, query, projected(-1, 0, 0, 1.5))}
	requireVariance(t, p, passedOn(attended(scores, []noisy{projected(3, 1)[0], projected(-3, 1)[0]}), 3))
}

// A norm divides by the root of what it carries itself: y = w x r, and each y depends on every x. One
// feature that holds nearly all of the sum of squares cannot move its own y.
func TestVarianceOfQKNorm(t *testing.T) {
	const scale, epsilon = 0.6, 0.125
	for _, kw := range [][]float64{{1, 0.5}, {0.1, 3}} {
		qw, weights := []float64{0.5, -1}, []float64{1.5, -0.75}
		normed := func(x []noisy) []noisy {
			s := x[0].value*x[0].value + x[1].value*x[1].value
			root := 1 / math.Sqrt(s/2+epsilon)
			y := make([]noisy, 2)
			for i := range y {
				own, other := x[i], x[1-i]
				toOwn := weights[i] * (root - root*root*root*own.value*own.value/2) // derivatives of y
				toOther := weights[i] * root * root * root * own.value * other.value / 2
				v := weights[i] * own.value * root
				y[i] = noisy{v, toOwn*toOwn*own.variance + toOther*toOther*other.variance +
					v*v*(3*r+sum(own.value*own.value, other.value*other.value)/(4*s*s))} // the root, two products; the sum
			}
			return y
		}
		norm := &oracle.Norm{Weight: weights, Epsilon: epsilon}
		p := &oracle.Problem{Query: row(2), Key: column(0.5, -0.5), Value: column(3, -3), Scale: scale, Layer: &oracle.Layer{
			Heads: 1, KVHeads: 1, Query: linear1(qw...), Key: linear1(kw...), Value: linear1(1, 0), Output: first(2), QueryNorm: norm, KeyNorm: norm,
		}}
		query := normed(projected(2, qw...))
		scores := []noisy{scored(scale, query, normed(projected(0.5, kw...))), scored(scale, query, normed(projected(-0.5, kw...)))}
		requireVariance(t, p, passedOn(attended(scores, []noisy{projected(3, 1)[0], projected(-3, 1)[0]}), 2))
	}
}

// A softcap flattens the noise of a score and rounds three times: the division, which is flattened,
// too; tanh and the product, one of them by two halves of a unit.
func TestVarianceOfSoftcap(t *testing.T) {
	const limit = 1.5
	p := &oracle.Problem{Query: row(2), Key: column(0.5, -1), Value: column(3, -3), Scale: 0.7, Softcap: limit}
	capped := func(s noisy) noisy {
		tanh := math.Tanh(s.value / limit)
		slope := 1 - tanh*tanh
		v := limit * tanh
		return noisy{v, slope*slope*(s.variance+r*s.value*s.value) + 3*r*v*v}
	}
	scores := []noisy{capped(scored(0.7, exact(2), exact(0.5))), capped(scored(0.7, exact(2), exact(-1)))}
	requireVariance(t, p, attended(scores, exact(3, -3)).variance)
}

// A slope times a distance: a rounding of each, and one of the sum. At a distance of 0 nothing is added.
func TestVarianceOfSlopes(t *testing.T) {
	p := &oracle.Problem{Query: row(2), Key: column(0.5, -1, 0.25), Value: column(3, -3, 1), Scale: 0.7, Slopes: []float64{0.3}, Offset: 2}
	var scores []noisy
	for j, k := range []float64{0.5, -1, 0.25} {
		s := scored(0.7, exact(2), exact(k))
		if lost := 0.3 * float64(2-j); lost > 0 {
			s = added(s, -lost, 2*r*lost*lost)
		}
		scores = append(scores, s)
	}
	requireVariance(t, p, attended(scores, exact(3, -3, 1)).variance)
}

// Everything that is added to a score is added one by one: the mask, the slope, the relative bias.
func TestVarianceOfAllThatIsAdded(t *testing.T) {
	p := &oracle.Problem{
		Query: row(2), Key: column(0.5, -1), Value: column(3, -3), Scale: 0.7, Slopes: []float64{0.3}, Relative: []float64{0.4, -0.6, 0.8}, Offset: 1,
		Bias: &oracle.Array{Shape: []int{1, 2}, Value: []float64{0.25, -1.5}},
	}
	scores := []noisy{
		added(added(added(scored(0.7, exact(2), exact(0.5)), 0.25, 0), -0.3, 2*r*0.3*0.3), 0.4, 0),
		added(added(scored(0.7, exact(2), exact(-1)), -1.5, 0), -0.6, 0),
	}
	requireVariance(t, p, attended(scores, exact(3, -3)).variance)
}

// Masks far below: a score is lost in -1e9 but for float64, so that its error is itself and no more;
// in float32's lowest number it is lost altogether, with its noise, and so is what is added later.
func TestVarianceOfLostScores(t *testing.T) {
	score := []noisy{scored(0.7, exact(2), exact(0.5)), scored(0.7, exact(2), exact(-1))}
	const lowest = -math.MaxFloat32
	for _, tc := range []struct {
		name   string
		mask   float64
		slopes []float64
		scores []noisy
	}{
		{"-1e9", -1e9, nil, []noisy{
			{score[0].value - 1e9, score[0].variance + score[0].value*score[0].value},
			{score[1].value - 1e9, score[1].variance + score[1].value*score[1].value},
		}},
		{"lowest", lowest, nil, []noisy{{value: lowest}, {value: lowest}}},
		{"lowest, and a slope", lowest, []float64{0.3}, []noisy{{value: lowest}, {value: lowest}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &oracle.Problem{
				Query: row(2), Key: column(0.5, -1), Value: column(3, -3), Scale: 0.7, Slopes: tc.slopes,
				Bias: &oracle.Array{Shape: []int{1, 1}, Value: []float64{tc.mask}},
			}
			requireVariance(t, p, attended(tc.scores, exact(3, -3)).variance)
		})
	}
}

// A score of exactly zero is not lost in what is added: its noise stays.
func TestVarianceOfAScoreOfZero(t *testing.T) {
	p := &oracle.Problem{
		Query: row(2), Key: column(0, 0), Value: column(3, -3), Scale: 1, Bias: &oracle.Array{Shape: []int{2}, Value: []float64{0.5, -0.5}},
		Layer: &oracle.Layer{Heads: 1, KVHeads: 1, Query: linear1(1, 1), Key: oracle.Linear{Weight: []float64{0, 0}, Bias: []float64{1, -1}, In: 1, Out: 2}, Value: linear1(1, 0), Output: first(2)},
	}
	query, key := projected(2, 1, 1), []noisy{{1, r}, {-1, r}}
	var scores []noisy
	for _, b := range []float64{0.5, -0.5} {
		s := scored(1, query, key)
		require.Zero(t, s.value)
		scores = append(scores, noisy{b, s.variance})
	}
	requireVariance(t, p, passedOn(attended(scores, []noisy{projected(3, 1)[0], projected(-3, 1)[0]}), 2))
}

// A sink is a score without noise of its own, and takes part in the softmax: the context moves
// against it.
func TestVarianceOfSinks(t *testing.T) {
	for _, sink := range []float64{0.4, 2} { // below and above the greatest score
		p := &oracle.Problem{Query: row(2), Key: column(0.5, -1), Value: column(3, -2), Scale: 0.7, Sinks: []float64{sink}}
		scores := []noisy{scored(0.7, exact(2), exact(0.5)), scored(0.7, exact(2), exact(-1)), {value: sink}}
		weights, variance := weighed(scores)
		values := []float64{3, -2, 0}
		out := weights[0]*3 - weights[1]*2
		want := sum(weights[0]*3, -weights[1]*2) + out*out*(r*(2.*1/3+2*(weights[0]*weights[0]+weights[1]*weights[1])/6+weights[0]*weights[0]+weights[1]*weights[1]+1)+2*r)
		for j, w := range weights {
			want += w * w * (values[j] - out) * (values[j] - out) * variance[j]
		}
		requireVariance(t, p, want)
	}
}

// A sink stands where no key does: the context is zero, whatever an empty row gives elsewhere.
func TestSinkOfAnEmptyRow(t *testing.T) {
	p := &oracle.Problem{
		Query: row(2), Key: column(0.5, -1), Value: column(3, -2), Scale: 0.7, Sinks: []float64{1},
		Allow: attention.NewMask(1, 2), EmptyRow: attention.EmptyNaN,
	}
	require.Equal(t, []float64{0}, p.Run().Value)
	require.Equal(t, []float64{0, 0}, p.Weights().Value)
	p.Sinks = nil
	require.True(t, math.IsNaN(p.Run().Value[0]))
	require.True(t, math.IsNaN(p.Weights().Value[0]))
}

// A cache is given, not computed: its keys and values have no noise.
func TestVarianceOfCachedKeys(t *testing.T) {
	cache := func(values ...float64) oracle.Array { return oracle.Array{Shape: []int{1, 1, 1, 2}, Value: values} }
	p := &oracle.Problem{Query: row(2), Key: row(0.5), Value: row(3), Scale: 0.7, Offset: 1, Past: &oracle.Past{Key: cache(0.5, 0.25), Value: cache(-2, 0)}, Layer: &oracle.Layer{
		Heads: 1, KVHeads: 1, Query: linear1(0.5, -1), Key: linear1(1, 0.5), Value: linear1(1, 0), Output: first(2),
	}}
	query := projected(2, 0.5, -1)
	scores := []noisy{scored(0.7, query, exact(0.5, 0.25)), scored(0.7, query, projected(0.5, 1, 0.5))}
	requireVariance(t, p, passedOn(attended(scores, []noisy{{value: -2}, projected(3, 1)[0]}), 2))
}

// So do learned keys and values, and those of zeros.
func TestVarianceOfAppendedKeys(t *testing.T) {
	p := &oracle.Problem{Query: row(2), Key: row(0.5), Value: row(3), Scale: 0.7, Layer: &oracle.Layer{
		Heads: 1, KVHeads: 1, Query: linear1(0.5, -1), Key: linear1(1, 0.5), Value: linear1(1, 0), Output: first(2),
		LearnedKey: []float64{0.75, 0.25}, LearnedValue: []float64{-2, 0}, ZeroKey: true,
	}}
	query := projected(2, 0.5, -1)
	scores := []noisy{scored(0.7, query, projected(0.5, 1, 0.5)), scored(0.7, query, exact(0.75, 0.25)), {}}
	requireVariance(t, p, passedOn(attended(scores, []noisy{projected(3, 1)[0], {value: -2}, {}}), 2))
}

// What is smaller than a normal number may become zero: the result, and a weight, whatever its value.
func TestVarianceOfUnderflow(t *testing.T) {
	p := &oracle.Problem{Query: row(1), Key: column(0, -1000), Value: column(0, 2), Scale: 1}
	const smallest = 0x1p-126
	requireVariance(t, p, smallest*smallest*(1+2*2))
	require.Equal(t, 0.0, p.Weights().Value[1])
	require.Equal(t, smallest*smallest, p.Weights().Variance[1])
}

// function is a case of three numbers: a query, and two keys and values.
func function(precision fixture.DType) *fixture.Case {
	tensor := func(values ...float32) *attention.Tensor {
		return &attention.Tensor{Shape: []int{1, len(values), 1}, Data: values}
	}
	return &fixture.Case{
		Op: fixture.SDPA, Precision: precision, Options: attention.SDPAOptions{Scale: 0.75},
		Inputs: attention.Inputs{Query: tensor(2), Key: tensor(0.5, -1), Value: tensor(3, -2)},
	}
}

// Half precision stores scores, weights and the result in fewer bits; sums run in float32.
func TestVarianceOfHalfPrecision(t *testing.T) {
	for precision, stored := range map[fixture.DType]float64{fixture.Float16: 0x1p-22 / 3, fixture.BFloat16: 0x1p-16 / 3} {
		for _, sink := range []*float32{nil, ptr(1.25)} {
			c := function(precision)
			scores := []noisy{scored(0.75, exact(2), exact(0.5)), scored(0.75, exact(2), exact(-1))}
			values := exact(3, -2)
			if sink != nil {
				c.Options.Sinks = &attention.Tensor{Shape: []int{1}, Data: []float32{*sink}}
				scores, values = append(scores, noisy{value: float64(*sink)}), append(values, noisy{})
			}
			for i := range scores {
				scores[i].variance += stored * scores[i].value * scores[i].value
			}
			weights, variance := weighed(scores)
			var out, squares, want, ww float64
			for j, w := range weights {
				out += w * values[j].value
				squares += w * values[j].value * w * values[j].value
			}
			for j, w := range weights {
				want += (values[j].value - out) * (values[j].value - out) * moved(w, variance[j])
			}
			for _, w := range weights[:2] {
				ww += w * w
			}
			want += r*(2*out*out/3+2*squares/6+squares+out*out) + out*out*(r*(2./3+2*ww/6+ww+1)+2*r) + stored*squares + stored*out*out
			requireVariance(t, oracle.FromCase(c), want)
		}
	}
}

func ptr(v float32) *float32 { return &v }

// Inputs of float64 are rounded to float32 before anything else: one rounding of each, of an additive
// mask, too. The truth is that of the inputs as they were.
func TestVarianceOfRoundedInputs(t *testing.T) {
	c := function(fixture.Float64)
	c.Options.Bias = &attention.Tensor{Shape: []int{2}, Data: []float32{0.25, -1.5}}
	c.Unrounded = map[string][]float64{"query": {2 + 1e-9}, "key": {0.5, -1 - 1e-9}, "value": {3 + 1e-9, -2}, "bias": {0.25, -1.5 + 1e-9}}
	rounded := func(v float64) noisy { return noisy{v, r * v * v} }
	q, k, v, b := c.Unrounded["query"], c.Unrounded["key"], c.Unrounded["value"], c.Unrounded["bias"]
	var scores []noisy
	for j := range k {
		scores = append(scores, added(scored(0.75, []noisy{rounded(q[0])}, []noisy{rounded(k[j])}), b[j], r*b[j]*b[j]))
	}
	want := attended(scores, []noisy{rounded(v[0]), rounded(v[1])})
	p := oracle.FromCase(c)
	requireVariance(t, p, want.variance)
	require.InEpsilon(t, want.value, p.Run().Value[0], 1e-15)
}

// The variance of a weight: p² ((1-p)² Var s + Σ p'² Var s' + rounding of the sum, of p and of its
// division). Keys that are hidden have weight 0, exactly.
func TestVarianceOfWeights(t *testing.T) {
	p := &oracle.Problem{Query: row(2), Key: column(0.5, 9, -1, 0.25), Value: column(3, 9, -2, 1), Scale: 0.7, Allow: attention.NewMask(1, 4)}
	p.Allow.Data = []bool{true, false, true, true}
	var scores []noisy
	for _, k := range []float64{0.5, -1, 0.25} {
		scores = append(scores, scored(0.7, exact(2), exact(k)))
	}
	weights, variance := weighed(scores)
	want := make([]float64, 3)
	for j, w := range weights {
		for other, u := range weights {
			slope := -u
			if other == j {
				slope = 1 - u
			}
			want[j] += w * w * slope * slope * variance[other]
		}
		want[j] += w * w * (sum(weights...) + 2*r)
	}
	got := p.Weights()
	require.Equal(t, []int{1, 1, 4}, got.Shape)
	require.InDeltaSlice(t, []float64{weights[0], 0, weights[1], weights[2]}, got.Value, 1e-15)
	require.Zero(t, got.Variance[1])
	for n, j := range []int{0, 2, 3} {
		require.InEpsilon(t, want[n], got.Variance[j], 1e-12)
	}
}

// So with a sink, whose noise as a score moves every weight.
func TestVarianceOfWeightsBesideASink(t *testing.T) {
	p := &oracle.Problem{Query: row(2), Key: column(0.5), Value: column(3), Scale: 0.7, Sinks: []float64{1.75}}
	weights, variance := weighed([]noisy{scored(0.7, exact(2), exact(0.5)), {value: 1.75}})
	w := weights[0]
	want := w * w * ((1-w)*(1-w)*variance[0] + weights[1]*weights[1]*variance[1] + r*(1./3+w*w/6+w*w+1) + 2*r)
	require.InEpsilon(t, want, p.Weights().Variance[0], 1e-12)
}

// The mean over the heads: their variances, the sum and its division.
func TestVarianceOfMeanWeights(t *testing.T) {
	f := oracle.Field{Shape: []int{1, 3, 1, 2}, Value: []float64{0.25, 0.75, 0.5, 0.5, 0.125, 0.875}, Variance: []float64{1e-15, 2e-15, 3e-15, 4e-15, 5e-15, 6e-15}}
	mean := f.MeanOfHeads()
	require.Equal(t, []int{1, 1, 2}, mean.Shape)
	for j, heads := range [][]float64{{0.25, 0.5, 0.125}, {0.75, 0.5, 0.875}} {
		total := heads[0] + heads[1] + heads[2]
		carried := f.Variance[j] + f.Variance[2+j] + f.Variance[4+j]
		require.InEpsilon(t, total/3, mean.Value[j], 1e-15)
		require.InEpsilon(t, (carried+sum(heads...)+r*total*total)/9, mean.Variance[j], 1e-12)
	}
}
