package oracle

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// turned is a rotation of two heads of five features, four of which turn, at given positions.
func turned(interleaved bool) *Problem {
	table := func(shift float64) Array {
		a := Array{Shape: []int{3, 2}}
		for i := range 6 {
			a.Value = append(a.Value, math.Sin(float64(i)+shift))
		}
		return a
	}
	x := Array{Shape: []int{2, 3, 10}}
	for i := range 60 {
		x.Value = append(x.Value, math.Cos(float64(3*i+1)))
	}
	t := &Turn{Interleaved: interleaved, Dim: 4, Heads: 2, Cos: [2]Array{table(0.1), table(0.2)}, Sin: [2]Array{table(0.3), table(0.4)}}
	t.Row = func(b, i int) int { return (b + i) % 3 }
	return &Problem{Query: x, Key: x, Value: x, Turn: t}
}

// A feature a turns with b to a cos - b sin, and b to b cos + a sin, by the row of their token in
// the tables. Noise of inputs and tables, and roundings, add up.
func TestTurn(t *testing.T) {
	const given, stored = 3e-10, 5e-10
	for _, interleaved := range []bool{false, true} {
		p := turned(interleaved)
		p.Precision = Precision{given: given}
		got := p.Run()
		p.Precision.stored = stored
		low := p.Run()
		for b := range 2 {
			for token := range 3 {
				for h := range 2 {
					at := (b*3+token)*10 + 5*h
					row := (b + token) % 3
					require.Equal(t, p.Query.Value[at+4], got.Value[at+4])
					for i := range 2 {
						first, second := i, i+2
						if interleaved {
							first, second = 2*i, 2*i+1
						}
						a, c := p.Query.Value[at+first], p.Query.Value[at+second]
						for k, pair := range [2][3]float64{{a, c, -1}, {c, a, 1}} {
							own, other := pair[0], pair[1]
							cos, sin := p.Turn.Cos[k].Value[2*row+i], p.Turn.Sin[k].Value[2*row+i]
							one, two := own*cos, pair[2]*other*sin
							squares, sum := one*one+two*two, one+two
							variance := given*(cos*cos*own*own+sin*sin*other*other) + given*squares +
								roundoff*(2*sum*sum/3+2*squares/6+squares+sum*sum)
							to := at + []int{first, second}[k]
							require.InDelta(t, sum, got.Value[to], 1e-14)
							require.InEpsilon(t, variance, got.Variance[to], 1e-11)
							require.InEpsilon(t, variance+stored*squares+stored*sum*sum, low.Variance[to], 1e-6)
						}
					}
				}
			}
		}
		plain, err := p.Rows(t.Context(), []int{4}, ValuesAlone)
		require.NoError(t, err)
		require.Equal(t, got.Value[40:50], plain.Value)
	}
	p := turned(false)
	require.Equal(t, 3, p.Turn.Positions())
	before := p.Turn.Sin[1].Value[1]
	p.Fork().Turn.RoundTables(math.Round)
	require.Equal(t, before, p.Turn.Sin[1].Value[1], "the fork has tables of its own")
	p.Turn.RoundTables(math.Round)
	for k := range 2 {
		for _, table := range []Array{p.Turn.Cos[k], p.Turn.Sin[k]} {
			for _, v := range table.Value {
				require.InDelta(t, math.Round(v), v, 0)
			}
		}
	}
}
