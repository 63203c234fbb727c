package sites

import (
	"math"
	"math/cmplx"

	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// rotaryOf returns the rotation on a path, nil if there is none, and the length of its tables: the
// root of cos² + sin², which some models make larger than 1. It fails unless the first features of
// every head are rotated, and by angles that grow evenly with the row, the same for all heads.
func rotaryOf(p *path, s *split, values graph.Values[float64]) (rotary *oracle.Rotary, length float64, ok bool) {
	if p.rotary == nil {
		return nil, 1, true
	}
	table := rotations(p, s, values)
	if len(table) < 2 {
		return nil, 0, false
	}
	length = normalise(table)
	rotary = &oracle.Rotary{
		Interleaved: interleaved(p.rotary), Dim: num.Last(p.rotary.Shape), Base: 10000, Factor: 1,
	}
	if !fitFrequencies(rotary, table) {
		return nil, 0, false
	}
	rotary.Rounded = quotients(rotary, table)
	return rotary, length, rotary.Rounded != nil
}

func interleaved(n *graph.Node) bool { return n.Attributes.Pairs == "neighbours" }

// rotations returns cos + i sin for each row and pair of features, nil if heads, batch elements or
// the features of a pair differ, or if other features than the first are rotated.
func rotations(p *path, s *split, values graph.Values[float64]) [][]complex128 {
	const same = 1e-6 // tables may be rounded to float32
	dim := num.Last(p.rotary.Shape)
	cos, sin := values[p.rotary.Operands[1].Name], values[p.rotary.Operands[2].Name]
	at := newBroadcast(cos.Shape, p.rotary.Shape)
	table := make([][]complex128, s.length)
	for i, turned := range p.turned {
		t, e := i/s.width%s.length, i%s.width
		if e >= dim != (turned < 0) || e < dim && turned%dim != e {
			return nil
		}
		if turned < 0 {
			continue
		}
		pair := e % (dim / 2)
		if interleaved(p.rotary) {
			pair = e / 2
		}
		place := at.index(turned)
		z := complex(cos.Data[place], sin.Data[place])
		if len(table[t]) == 0 {
			table[t] = make([]complex128, dim/2)
		}
		if table[t][pair] == 0 {
			table[t][pair] = z
		}
		if !(cmplx.Abs(z-table[t][pair]) <= same) {
			return nil
		}
	}
	return table
}

// normalise divides rotations by their mean length, and returns it. A length of 1 to rounding
// counts as 1.
func normalise(table [][]complex128) float64 {
	const one = 1e-6
	length := 0.0
	for _, row := range table {
		for _, z := range row {
			length += cmplx.Abs(z) / float64(len(table)*len(row))
		}
	}
	if math.Abs(length-1) <= one {
		return 1
	}
	for _, row := range table {
		for i := range row {
			row[i] /= complex(length, 0)
		}
	}
	return length
}

// fitFrequencies finds the first position, the base, the factor and the stretch of a rotation whose
// rows stand at consecutive positions. It returns false if a pair does not turn forwards.
func fitFrequencies(r *oracle.Rotary, table [][]complex128) bool {
	const even = 1e-4 // tables may be rounded
	frequencies := make([]float64, r.Dim/2)
	for i := range frequencies {
		for t := 1; t < len(table); t++ {
			frequencies[i] += cmplx.Phase(table[t][i]*cmplx.Conj(table[t-1][i])) / float64(len(table)-1)
		}
		if !(frequencies[i] > 0) {
			return false
		}
	}
	last := len(frequencies) - 1
	r.First = int(math.Round(cmplx.Phase(table[0][last]) / frequencies[last]))
	r.Factor = wholeIfClose(1 / frequencies[0])
	if last > 0 {
		r.Base = wholeIfClose(math.Pow(frequencies[1]*r.Factor, -float64(r.Dim)/2))
	}
	stretch, stretched := make([]float64, len(frequencies)), false
	for i := range stretch {
		stretch[i] = frequencies[i] * r.Factor * math.Pow(r.Base, 2*float64(i)/float64(r.Dim))
		if math.Abs(stretch[i]-1) < even {
			stretch[i] = 1
		}
		stretched = stretched || stretch[i] != 1
	}
	if stretched {
		r.Stretch = stretch
	}
	return true
}

// wholeIfClose returns the nearest whole number if x is close to it, or else x.
func wholeIfClose(x float64) float64 {
	const close = 1e-4
	if whole := math.Round(x); math.Abs(x-whole) < close*math.Abs(x) {
		return whole
	}
	return x
}

// quotients returns the quotients of given rotations and exact ones, or nil if one is not near 1.
func quotients(r *oracle.Rotary, table [][]complex128) [][]complex128 {
	const near = 1e-2 // radians, for tables in bfloat16
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
