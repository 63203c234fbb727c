package kernel_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention/kernel"
)

// rowsOf returns rows of every length up to 70, of numbers up to 0 and some odd ones.
func rowsOf[F kernel.Float](r *rand.Rand, odd []float64) [][]F {
	var rows [][]F
	for n := range most + 1 {
		row := make([]F, n)
		for i := range row {
			row[i] = F(-math.Exp(8*r.Float64() - 4))
			if r.IntN(20) == 0 {
				row[i] = F(odd[r.IntN(len(odd))])
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// Every set computes the exponentials and their sum as plain Go does, bit by bit. Elements beside
// the row stay as they are.
func TestExpSumOfEverySet(t *testing.T) {
	t.Run("float32", testExpSum[float32])
	t.Run("float64", testExpSum[float64])
}

func testExpSum[F kernel.Float](t *testing.T) {
	odd := []float64{0, math.Copysign(0, -1), math.Inf(-1), math.NaN(), -87.25, -87.3, -707.99, -708.01, -1e30}
	for _, row := range rowsOf[F](rand.New(rand.NewPCG(1, 2)), odd) {
		kernel.Use(kernel.Plain)
		want := append([]F{}, row...)
		wantSum := kernel.ExpSum(want, 0.25)
		eachSet(t, func(t *testing.T) {
			got := append(append([]F{}, row...), 7)
			sum := kernel.ExpSum(got[:len(row)], 0.25)
			require.True(t, same(wantSum, sum), "sum of %v: %v, want %v", row, sum, wantSum)
			require.Equal(t, F(7), got[len(row)])
			for i, w := range want {
				require.True(t, same(w, got[i]), "exp of %v: %v, want %v", row[i], got[i], w)
			}
		})
	}
}

// An exponential is within one unit in the last place of the exact one.
func TestExpIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var worst32, worst64 float64
	for range 5000 {
		x := float32(-math.Exp(14*r.Float64() - 10))
		double, single := []float64{float64(x)}, []float32{x}
		kernel.ExpSum(double, 0)
		kernel.ExpSum(single, 0)
		want := exactExp(float64(x))
		if x > -708 {
			worst64 = max(worst64, units(double[0], want, 53))
		}
		if x > -87.2 {
			worst32 = max(worst32, units(float64(single[0]), want, 24))
		}
	}
	require.Less(t, worst32, 1.0)
	require.Less(t, worst64, 1.0)
	t.Logf("%.3f and %.3f units in the last place", worst32, worst64)
}

// exactExp returns exp(x) by its series, of x over 2^20, squared 20 times.
func exactExp(x float64) *big.Float {
	number := func(v float64) *big.Float { return new(big.Float).SetPrec(200).SetFloat64(v) }
	sum, term := number(1), number(1)
	for i := 1; i < 20; i++ {
		term.Quo(term.Mul(term, number(math.Ldexp(x, -20))), number(float64(i)))
		sum.Add(sum, term)
	}
	for range 20 {
		sum.Mul(sum, sum)
	}
	return sum
}

// units returns the error of a number. The unit is the last place of a significand of the given
// number of bits.
func units(got float64, want *big.Float, bits int) float64 {
	off := new(big.Float).Sub(new(big.Float).SetPrec(200).SetFloat64(got), want)
	v, _ := off.Abs(off).Float64()
	return math.Ldexp(v, bits-want.MantExp(nil))
}

func TestExpOfLimits(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		s := []float32{2, float32(math.Inf(-1)), -86, float32(math.NaN()), -3e38}
		sum := kernel.ExpSum(s, 2)
		require.Equal(t, []float32{1, 0}, s[:2])
		require.InEpsilon(t, math.Exp(-88), s[2]+float32(math.Exp(-88)), 1e-6)
		require.True(t, s[3] != s[3] && sum != sum)
		require.Zero(t, s[4])
		require.Zero(t, kernel.ExpSum([]float64{}, 3))
		require.Zero(t, kernel.ExpSum([]float64{math.Inf(-1)}, 3))
	})
}

// The sum has a partial sum for every 16th element, or for every 8th.
func TestExpSumAddsInLanes(t *testing.T) {
	row := make([]float64, 50)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range row {
		row[i] = -3 * r.Float64()
	}
	eachSet(t, func(t *testing.T) {
		e := append([]float64{}, row...)
		sum := kernel.ExpSum(e, 0)
		var lanes [8]float64
		for i, v := range e {
			lanes[i%8] += v
		}
		l := lanes
		require.Equal(t, ((l[0]+l[4])+(l[2]+l[6]))+((l[1]+l[5])+(l[3]+l[7])), sum)
	})
}

// Every set scales as a plain loop does, and passes over NaN.
func TestScaleMax(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, row := range rowsOf[float32](r, []float64{math.Inf(-1), math.NaN(), 3, 1e30, math.Inf(1)}) {
		eachSet(t, func(t *testing.T) {
			got := append([]float32{}, row...)
			top := kernel.ScaleMax(got, -0.3)
			largest := float32(math.Inf(-1))
			for i, v := range row {
				require.True(t, same(v*-0.3, got[i]))
				if v*-0.3 > largest {
					largest = v * -0.3
				}
			}
			require.Equal(t, largest, top)
		})
	}
	eachSet(t, func(t *testing.T) {
		require.Equal(t, 5.0, kernel.ScaleMax([]float64{-1, 2.5, 1, 2, 1, 1, 1, 1, 1}, 2))
		require.Equal(t, math.Inf(-1), kernel.ScaleMax([]float64{}, 2))
	})
}
