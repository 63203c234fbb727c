package fit

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// The design of value and output together has for each row the means of the value inputs that its
// heads see, and a 1, all in units of the noise. A row of no numbers has zeros.
func TestProductDesign(t *testing.T) {
	for _, hasBias := range []bool{true, false} {
		p := oracletest.First(oracletest.Tall(1), 2)
		blankRows(p)
		if !hasBias {
			p.Layer.Output.Bias = nil
		}
		x := newJacobian(p, all(ValueProjection, OutputProjection))
		design := x.productDesign()
		rows, columns := design.Dims()
		require.Equal(t, 8, rows)
		require.Equal(t, map[bool]int{true: 21, false: 20}[hasBias], columns)
		require.Equal(t, make([]float64, columns), design.RawRowView(0), "a row of no numbers")
		for row := 1; row < 8; row++ {
			want := make([]float64, columns)
			for at := range 20 {
				h, i := at/10, at%10
				for k := range 4 {
					want[at] += x.weight[row] * x.t.Weights[((row/4*2+h)*4+row%4)*4+k] * p.Value.Value[(row/4*4+k)*10+i]
				}
			}
			if hasBias {
				want[20] = x.weight[row]
			}
			require.InDeltaSlice(t, want, design.RawRowView(row), 1e-9*x.weight[row])
		}
	}
}

// The search for value and output together begins at weights that give the output, for heads with
// values of their own and for heads that share them. The value bias is part of the output bias.
func TestStartOfProduct(t *testing.T) {
	for _, kvHeads := range []int{1, 2} {
		p := oracletest.First(oracletest.Tall(kvHeads), 20)
		blankRows(p)
		wrong := p.Clone()
		redraw(wrong, ValueProjection, "weight")
		redraw(wrong, OutputProjection, "weight")
		got := wrong.Run().Value
		f := fitterOf(t, p, got)
		start, reason := f.startOfProduct(newJacobian(p, all(ValueProjection, OutputProjection)))
		require.Empty(t, reason)
		require.InDeltaSlice(t, got[13:4*13], start.Run().Value[13:4*13], 1e-9)
		require.InDeltaSlice(t, got[len(got)-13:], start.Run().Value[len(got)-13:], 1e-9)
		require.Equal(t, make([]float64, 6*kvHeads), start.Layer.Value.Bias)
		require.NotEqual(t, p.Layer.Value.Weight, start.Layer.Value.Weight)

		// The two weights of a product are of one size.
		for c := range 6 {
			var value, output float64
			for i := range 10 {
				value += start.Layer.Value.Weight[c*10+i] * start.Layer.Value.Weight[c*10+i]
			}
			for at, w := range start.Layer.Output.Weight {
				if column := at % 12; column%6 == c && column/6 < 2/kvHeads {
					output += w * w
				}
			}
			require.InEpsilon(t, value, output, 1e-9)
		}
		require.Equal(t, p.Layer.Query, start.Layer.Query)
	}
}

// Rows that are all alike have no least squares.
func TestNoStartOfProduct(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 8)
	for _, a := range []*oracle.Array{&p.Query, &p.Key, &p.Value} {
		a.Value = slices.Repeat(a.Value[:a.Shape[2]], 32)
	}
	f := fitterOf(t, p, make([]float64, 32*13))
	start, reason := f.startOfProduct(newJacobian(p, all(ValueProjection, OutputProjection)))
	require.Nil(t, start)
	require.Contains(t, reason, "least squares is singular: ")
}
