package sites

import (
	"math"
	"math/cmplx"

	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// rotaryOf returns the rotation on a path, and the factor by which its tables are longer than
// cosines and sines. It fails if the first features of every head are not the rotated ones, or if
// the angles are no multiples of consecutive positions, the same for all heads.
func rotaryOf(p *path, s *split, values graph.Values[float64]) (rotary *oracle.Rotary, factor float64, ok bool) {
	if p.rotary == nil {
		return nil, 1, true
	}
	dim := num.Last(p.rotary.Shape)
	table := tableOf(p, s, values, dim)
	if table == nil {
		return nil, 0, false
	}
	var length float64
	for _, row := range table {
		for _, z := range row {
			length += cmplx.Abs(z) / float64(len(table)*len(row))
		}
	}
	for _, row := range table {
		for i := range row {
			row[i] /= complex(length, 0)
		}
	}
	rotary = &oracle.Rotary{Interleaved: p.rotary.Attributes.Pairs == "neighbours", Dim: dim, Base: 10000, Factor: 1}
	if !fitFrequencies(rotary, table) {
		return nil, 0, false
	}
	rotary.Rounded = quotients(rotary, table)
	if rotary.Rounded == nil {
		return nil, 0, false
	}
	return rotary, length, true
}

// tableOf returns cos + i sin for each token and pair of features, or nil. Both features of a pair
// have the same angle.
func tableOf(p *path, s *split, values graph.Values[float64], dim int) [][]complex128 {
	const same = 1e-6
	cos, sin := values[p.rotary.Operands[1].Name], values[p.rotary.Operands[2].Name]
	at := newBroadcast(cos.Shape, p.rotary.Shape)
	table := make([][]complex128, s.length)
	for t := range table {
		table[t] = make([]complex128, dim/2)
	}
	for i, turned := range p.turned {
		n, t, e := i/(s.length*s.width), i/s.width%s.length, i%s.width
		if e >= dim != (turned < 0) || e < dim && turned%dim != e {
			return nil
		}
		if turned < 0 {
			continue
		}
		pair := e % (dim / 2)
		if p.rotary.Attributes.Pairs == "neighbours" {
			pair = e / 2
		}
		place := at.index(turned)
		z := complex(cos.Data[place], sin.Data[place])
		if n == 0 && table[t][pair] == 0 {
			table[t][pair] = z
		}
		if !(cmplx.Abs(z-table[t][pair]) <= same) {
			return nil
		}
	}
	return table
}

// fitFrequencies finds the first position, the base, the factor and the stretch of a rotation.
// Consecutive rows stand at consecutive positions.
func fitFrequencies(r *oracle.Rotary, table [][]complex128) bool {
	const close = 1e-4 // radians: tables are rounded to float32, or to bfloat16 at worst
	pairs := r.Dim / 2
	frequencies := make([]float64, pairs)
	for i := range frequencies {
		for t := 1; t < len(table); t++ {
			step := cmplx.Phase(table[t][i] * cmplx.Conj(table[t-1][i]))
			frequencies[i] += step / float64(len(table)-1)
		}
		if frequencies[i] <= 0 {
			return false
		}
	}
	last := pairs - 1
	r.First = int(math.Round(cmplx.Phase(table[0][last]) / frequencies[last]))
	r.Factor = rounded(1 / frequencies[0])
	if pairs > 1 {
		r.Base = rounded(math.Pow(frequencies[1]*r.Factor, -float64(r.Dim)/2))
	}
	stretch := make([]float64, pairs)
	stretched := false
	for i := range stretch {
		own := math.Pow(r.Base, -2*float64(i)/float64(r.Dim)) / r.Factor
		if stretch[i] = frequencies[i] / own; math.Abs(stretch[i]-1) < close {
			stretch[i] = 1
		}
		stretched = stretched || stretch[i] != 1
	}
	if stretched {
		r.Stretch = stretch
	}
	return true
}

// rounded returns the nearest whole number if a value is close to it.
func rounded(x float64) float64 {
	if whole := math.Round(x); math.Abs(x-whole) < 1e-4*math.Abs(x) {
		return whole
	}
	return x
}

// quotients returns the quotients of a table and the exact one, or nil if one of them is not near 1.
func quotients(r *oracle.Rotary, table [][]complex128) [][]complex128 {
	const near = 1e-2
	all := make([][]complex128, len(table))
	for t, row := range table {
		all[t] = make([]complex128, len(row))
		for i, z := range row {
			angle := float64(r.First+t) / r.Factor * math.Pow(r.Base, -2*float64(i)/float64(r.Dim))
			if r.Stretch != nil {
				angle *= r.Stretch[i]
			}
			all[t][i] = z * cmplx.Rect(1, -angle)
			if !(cmplx.Abs(all[t][i]-1) <= near) {
				return nil
			}
		}
	}
	return all
}

// broadcast maps places of a shape to places of an array that is broadcast to it.
type broadcast struct{ shape, steps []int }

func newBroadcast(from, to []int) broadcast {
	b := broadcast{shape: to, steps: make([]int, len(to))}
	step := 1
	for back := 1; back <= len(from); back++ {
		if n := from[len(from)-back]; n > 1 {
			b.steps[len(to)-back] = step
			step *= n
		}
	}
	return b
}

func (b broadcast) index(place int) int {
	index := 0
	for d := len(b.shape) - 1; d >= 0; d-- {
		index += place % b.shape[d] * b.steps[d]
		place /= b.shape[d]
	}
	return index
}
