package oracle_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// Rotary positions rotate each pair of features by position / factor times a power of the base.
func TestVarianceOfRoPE(t *testing.T) {
	const q, k, v, scale, base, factor, position = 2, 0.5, 3, 0.7, 50, 4, 3
	qw, kw := []float64{0.5, -1, 0.25, 0.75}, []float64{1, 0.5, -0.5, 1.5}
	rotated := func(x []noisy, position float64, pairs [][2]int) []noisy {
		y := make([]noisy, 4)
		for i, pair := range pairs {
			exponent := -float64(i) / 2 * math.Log(base)
			angle := position / factor * math.Exp(exponent)
			// Position, power and product are rounded, and so is the exponent.
			angleVar := r * angle * angle * (3 + exponent*exponent)
			sin, cos := math.Sincos(angle)
			a, b := x[pair[0]], x[pair[1]]
			y[pair[0]] = rotatedFeature(a, b, cos, sin, angleVar)
			y[pair[1]] = rotatedFeature(b, a, cos, -sin, angleVar)
		}
		return y
	}
	for _, tc := range []struct {
		interleaved bool
		pairs       [][2]int
	}{{false, [][2]int{{0, 2}, {1, 3}}}, {true, [][2]int{{0, 1}, {2, 3}}}} {
		rotary := oracle.Rotary{Interleaved: tc.interleaved, Dim: 4, Base: base, Factor: factor, First: position}
		p := &oracle.Problem{Query: row(q), Key: column(k, -k), Value: column(v, -v), Scale: scale}
		p.Layer = &oracle.Layer{
			Heads: 1, KVHeads: 1,
			Query: linear1(qw...), Key: linear1(kw...), Value: linear1(1, 0, 0, 0), Output: first(4),
			QueryRotary: &rotary, KeyRotary: &rotary,
		}
		query := rotated(projected(q, qw...), position, tc.pairs)
		scores := []noisy{
			scored(scale, query, rotated(projected(k, kw...), position, tc.pairs)),
			scored(scale, query, rotated(projected(-k, kw...), position+1, tc.pairs)),
		}
		values := []noisy{projected(v, 1)[0], projected(-v, 1)[0]}
		requireVariance(t, p, passedOn(attended(scores, values), 4))
	}
}

// rotatedFeature returns a cos - b sin.
func rotatedFeature(a, b noisy, cos, sin, angleVar float64) noisy {
	one, two, slope := a.value*cos, b.value*sin, a.value*sin+b.value*cos
	variance := cos*cos*a.variance + sin*sin*b.variance
	variance += 2 * r * (one*one + two*two) // cos and sin
	variance += sum(one, -two)              // the products
	variance += slope * slope * angleVar
	return noisy{one - two, variance}
}

// Features that are not rotated keep their noise.
func TestVarianceOfPartialRoPE(t *testing.T) {
	p := &oracle.Problem{Query: row(2), Key: column(1, -1), Value: column(3, -3), Scale: 1, Layer: &oracle.Layer{
		Heads: 1, KVHeads: 1,
		Query: linear1(0, 0, 0.5), Key: linear1(0, 0, 1.5), Value: linear1(1, 0, 0), Output: first(3),
		KeyRotary: &oracle.Rotary{Dim: 2, Base: 100, Factor: 1, First: 5},
	}}
	query := projected(2, 0, 0, 0.5)
	scores := []noisy{scored(1, query, projected(1, 0, 0, 1.5)), scored(1, query, projected(-1, 0, 0, 1.5))}
	requireVariance(t, p, passedOn(attended(scores, []noisy{projected(3, 1)[0], projected(-3, 1)[0]}), 3))
}

// A row times its matrix is the rotated row.
func TestRotaryMatrices(t *testing.T) {
	rotary := &oracle.Rotary{Dim: 4, Base: 100, Factor: 2, First: 3}
	matrices := rotary.Matrices(2, 6)
	require.Len(t, matrices, 2)
	angle := 4.0 / 2 * math.Pow(100, -0.5) // position 4, pair 1: features 1 and 3
	want := make([]float64, 6)
	want[1], want[3] = math.Cos(angle), math.Sin(angle)
	requireSame(t, "feature 1", matrices[1][6:12], want)
	want = []float64{0, 0, 0, 0, 0, 1}
	requireSame(t, "a feature that is not rotated", matrices[1][30:36], want)
	require.Nil(t, (*oracle.Rotary)(nil).Matrices(2, 6))
}
