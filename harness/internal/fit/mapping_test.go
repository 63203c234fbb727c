package fit

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// A mapping is the one matrix that turns some rows into others. Rows must be three more than
// columns, and must not depend on each other.
func TestMapping(t *testing.T) {
	from := [][]float64{{1, 0}, {0, 1}, {1, 1}, {1, -1}, {2, 1}}
	var to [][]float64
	for _, row := range from {
		to = append(to, []float64{2*row[0] + row[1], 3 * row[1], row[0]})
	}
	by := mapping(from, to)
	rows, columns := by.Dims()
	require.Equal(t, []int{2, 3}, []int{rows, columns})
	require.InDeltaSlice(t, []float64{2, 0, 1, 1, 3, 0}, by.RawMatrix().Data, 1e-12)
	require.Equal(t, []float64{1*5 + 2*6, 3*5 + 4*6}, times(mat.NewDense(3, 2, []float64{1, 2, 3, 4, 5, 6}), []float64{5, 6}))
	require.Nil(t, mapping(from[:4], to[:4]))
	require.Nil(t, mapping(nil, nil))
	for _, row := range from {
		row[1] = row[0]
	}
	require.Nil(t, mapping(from, to))
	require.Equal(t, []float64{3, -6}, scaled(3, []float64{1, -2}))
}

// The output shows a value by all weights of the query heads that share it.
func TestShownOf(t *testing.T) {
	f := &fitter{trace: oracle.Trace{Group: 2, Heads: 4, KVHeads: 2, Queries: 2, Keys: 3, Weights: make([]float64, 24)}}
	for _, at := range []int{14, 17, 20, 23} { // key 2 of the queries of heads 2 and 3
		f.trace.Weights[at] = float64(at)
	}
	require.InDelta(t, math.Sqrt(196+289+400+529), f.shownOf(1, 2), 1e-12)
	require.Zero(t, f.shownOf(1, 1))
	require.Zero(t, f.shownOf(0, 2))
}

// Another output bias is what a shift of all values gives, if there is such a shift.
func TestValueShift(t *testing.T) {
	for _, kvHeads := range []int{1, 2} {
		p := oracletest.First(oracletest.Tall(kvHeads), 1)
		w := p.Layer.Output
		shift := make([]float64, p.Layer.Value.Out)
		for at := range shift {
			shift[at] = float64(at%3) - 1
		}
		wrong := p.Clone()
		for o := range w.Out {
			for c := range w.In {
				wrong.Layer.Output.Bias[o] += w.Weight[o*w.In+c] * shift[c%(6*kvHeads)]
			}
		}
		f := fitterOf(t, p, nil)
		if kvHeads == 1 {
			require.InDeltaSlice(t, shift, f.valueShift(wrong, 2), 1e-9)
		} else {
			require.Equal(t, make([]float64, 12), f.valueShift(wrong, 1), "13 rows are too few for 12 numbers")
		}
		p.Layer.Output.Bias = nil
		require.Equal(t, make([]float64, 6*kvHeads), f.valueShift(wrong, 2/kvHeads))
	}
}

// The values of each head take the part of another output bias that is the head's, whatever the
// output weight is.
func TestValuesOfOutput(t *testing.T) {
	p := grouped(1)
	w := p.Layer.Output
	wrong := p.Clone()
	scaleOutput(wrong.Layer, 0)
	var shift, bias []float64
	for at, v := range p.Layer.Value.Bias {
		shift, bias = append(shift, float64(at+1)), append(bias, scaledBy*v+float64(at+1))
	}
	for o := range w.Out {
		for c := range w.In {
			wrong.Layer.Output.Bias[o] += w.Weight[o*w.In+c] * shift[c/6*3+c%3]
		}
	}
	found := fitterOf(t, p, nil).valuesOfOutput(wrong, 2)
	require.InDeltaSlice(t, bias, found.Layer.Value.Bias, 1e-9)
	require.InDeltaSlice(t, scaled(scaledBy, p.Layer.Value.Weight), found.Layer.Value.Weight, 1e-9)
	require.Equal(t, p.Layer.Output, found.Layer.Output)
}

// Values that no query sees say nothing of other values: 9 that are seen are too few for 6 features
// and a shift, and 10 are enough.
func TestOutputOfValues(t *testing.T) {
	for hidden, want := range map[int]bool{3: false, 2: true} {
		p := oracletest.First(oracletest.Tall(2), 3)
		p.Padding = attention.NewMask(3, 4)
		for n := range hidden {
			p.Padding.Data[4*n] = true
		}
		wrong := p.Clone()
		scaleValues(wrong.Layer, 0)
		found := fitterOf(t, p, nil).outputOfValues(wrong, 1)
		require.Equal(t, want, found != nil, "%d hidden", hidden)
		if want {
			require.InDeltaSlice(t, scaled(scaledBy, p.Layer.Output.Weight), found.Layer.Output.Weight, 1e-9)
		}
	}
}

// A twin that explains the output is left as it is, and one that is near takes steps. One that is
// far is none.
func TestPolishedTwins(t *testing.T) {
	p := oracletest.Tall(2)
	wrong := p.Clone()
	scaleValues(wrong.Layer, 0)
	f := fitterOf(t, p, oracletest.InFloat32(wrong.Run()))
	start := func(by float64) *oracle.Problem {
		q := wrong.Clone()
		for at := range q.Layer.Value.Weight {
			q.Layer.Value.Weight[at] *= 1 + by
		}
		return q
	}
	moved := func(by float64) attempt {
		return f.polished(attempt{Fit: Fit{free: all(ValueProjection)}, problem: start(by)})
	}
	same := moved(0)
	require.True(t, same.Holds)
	require.Equal(t, wrong.Layer.Value.Weight, same.problem.Layer.Value.Weight)
	require.Less(t, same.Residual, 1e-6)
	require.Positive(t, same.MaxZ)
	near := moved(1e-4)
	require.True(t, near.Holds)
	require.InDeltaSlice(t, wrong.Layer.Value.Weight, near.problem.Layer.Value.Weight, 1e-5)
	// Noise that least squares cannot take away is no explanation.
	exact, got := wrong.Run().Expected(), slices.Clone(f.got)
	for at, sigma := range exact.Sigma {
		f.got[at] = exact.Value[at] + math.Copysign(1.7*sigma, math.Sin(float64(at)))
	}
	noisy := moved(1e-4)
	require.Less(t, noisy.Residual, 1e-5)
	require.False(t, noisy.Holds)
	f.got = got
	far := moved(2e-3)
	require.False(t, far.Holds)
	require.InDelta(t, 1e-3, far.Residual, 5e-4)
	require.Equal(t, start(2e-3).Layer.Value.Weight, far.problem.Layer.Value.Weight)
}
