package oracle

import (
	"math"

	"github.com/difftest/difftest/harness/internal/num"
)

// apply normalises each row of x (B, H, T, E): y = x r w, with r = 1/sqrt(mean(x²) + eps) and
// S = Σ x².
//
//	Var y = w² r² (Var x (1 - 2 x² r²/E) + x² r⁴/E² Σ x² Var x)    errors of x, in y and through r
//	      + y² (rounding of S / 4 S², of r, and of two products)
func (n *Norm) apply(x Field) Field {
	if n == nil {
		return x
	}
	y := x.ZerosLike()
	for row := range len(x.Value) / num.Last(x.Shape) {
		in, out := x.row(row), y.row(row)
		m := n.moments(x, row)
		r := 1 / math.Sqrt(m.sum/m.count-m.mean*m.mean+n.Epsilon)
		for i, v := range in.Value {
			out.Value[i] = (v - m.mean) * r * n.Weight[i]
		}
		if !x.noisy() {
			continue
		}
		own := 3 * roundoff
		if m.sum > 0 {
			own += sumOfProducts(int(m.count), m.sum, m.squares) / (4 * m.sum * m.sum)
		}
		for i, v := range in.Value {
			w, y := n.Weight[i], out.Value[i]
			direct := in.Variance[i] * (1 - 2*v*v*r*r/m.count)
			through := v * v * r * r * r * r / (m.count * m.count) * m.carried
			out.Variance[i] = w*w*r*r*math.Max(0, direct+through) + y*y*own
		}
	}
	return y
}

// moments are sums over the features that one row is normalised by.
type moments struct {
	sum     float64 // Σ x²
	squares float64 // Σ x⁴
	carried float64 // Σ x² Var x
	mean    float64 // to subtract: 0 unless the norm is Centered
	count   float64 // number of features
}

func (n *Norm) moments(x Field, row int) moments {
	var m moments
	rows := n.rowsWith(x, row)
	for _, row := range rows {
		in := x.row(row)
		for i, v := range in.Value {
			m.sum += v * v
			m.squares += v * v * v * v
			m.mean += v
			if in.noisy() {
				m.carried += v * v * in.Variance[i]
			}
		}
	}
	m.count = float64(len(rows) * num.Last(x.Shape))
	if n.Centered {
		m.mean /= m.count
	} else {
		m.mean = 0
	}
	return m
}

// rowsWith returns the rows of x that are normalised together with a row: itself alone, or those
// of all heads at its position.
func (n *Norm) rowsWith(x Field, row int) []int {
	if !n.AcrossHeads {
		return []int{row}
	}
	heads, length := x.Shape[1], x.Shape[2]
	first := row/(heads*length)*heads*length + row%length
	var rows []int
	for h := range heads {
		rows = append(rows, first+h*length)
	}
	return rows
}
