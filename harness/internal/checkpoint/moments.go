package checkpoint

import (
	"fmt"
	"math"
)

// moments describes values that come in blocks. Central moments of blocks are joined as in Pébay,
// Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical
// moments (SAND2008-6212).
type moments struct {
	elements, zeros, nonFinite int
	denormal                   int    // nonzero values below all normal numbers of float32
	largest                    uint64 // bits of the largest finite magnitude
	first                      float64
	varied                     bool // some value differs from the first

	n, mean, second, third, fourth float64 // of the finite values: sums of powers of v - mean
}

// add takes a block of values.
func (m *moments) add(values []float64) {
	if len(values) == 0 {
		return
	}
	if m.elements == 0 {
		m.first = values[0]
	}
	if !m.varied {
		m.varied = differ(values, m.first)
	}
	m.elements += len(values)
	if n := m.count(values); n > 0 {
		m.nonFinite += n
		values = finite(values)
	}
	if len(values) > 0 {
		m.join(momentsOf(values))
	}
}

func differ(values []float64, from float64) bool {
	for _, v := range values {
		if v != from {
			return true
		}
	}
	return false
}

// count counts zeros and denormal numbers, and returns the number of values that are not finite.
func (m *moments) count(values []float64) (nonFinite int) {
	const infinite, least = 0x7ff << 52, (1023 - 126) << 52 // the bits of infinity and of 2⁻¹²⁶
	for _, v := range values {
		switch magnitude := math.Float64bits(v) &^ (1 << 63); {
		case magnitude == 0:
			m.zeros++
		case magnitude >= infinite:
			nonFinite++
		default:
			if magnitude < least {
				m.denormal++
			}
			m.largest = max(m.largest, magnitude)
		}
	}
	return nonFinite
}

// finite returns the finite ones of some values.
func finite(values []float64) []float64 {
	var kept []float64
	for _, v := range values {
		if v-v == 0 {
			kept = append(kept, v)
		}
	}
	return kept
}

// momentsOf returns the central moments of finite values. Two sums of each kind run side by side,
// which is faster than one.
func momentsOf(values []float64) (m moments) {
	var a, b float64
	for i := 1; i < len(values); i += 2 {
		a, b = a+values[i-1], b+values[i]
	}
	var last []float64 // of an odd number
	if len(values)%2 == 1 {
		last = values[len(values)-1:]
		a += last[0]
	}
	m.n = float64(len(values))
	m.mean = (a + b) / m.n
	var a2, a3, a4, b2, b3, b4 float64
	for i := 1; i < len(values); i += 2 {
		d, e := values[i-1]-m.mean, values[i]-m.mean
		dd, ee := d*d, e*e
		a2, b2 = a2+dd, b2+ee
		a3, b3 = a3+dd*d, b3+ee*e
		a4, b4 = a4+dd*dd, b4+ee*ee
	}
	for _, v := range last {
		d := v - m.mean
		a2, a3, a4 = a2+d*d, a3+d*d*d, a4+d*d*d*d
	}
	m.second, m.third, m.fourth = a2+b2, a3+b3, a4+b4
	return m
}

// join adds the moments of other values.
func (m *moments) join(o moments) {
	if m.n == 0 {
		m.n, m.mean, m.second, m.third, m.fourth = o.n, o.mean, o.second, o.third, o.fourth
		return
	}
	n := m.n + o.n
	d := (o.mean - m.mean) / n
	product := m.n * o.n
	m.fourth += o.fourth + d*d*d*d*n*product*(m.n*m.n-product+o.n*o.n) +
		6*d*d*(m.n*m.n*o.second+o.n*o.n*m.second) + 4*d*(m.n*o.third-o.n*m.third)
	m.third += o.third + d*d*d*n*product*(m.n-o.n) + 3*d*(m.n*o.second-o.n*m.second)
	m.second += o.second + d*d*n*product
	m.mean += d * o.n
	m.n = n
}

// statistics describes the values of a tensor.
func (m *moments) statistics(t *Tensor) Statistics {
	s := Statistics{
		Elements: m.elements, Zeros: m.zeros, NonFinite: m.nonFinite,
		Mean: m.mean, Std: math.Sqrt(m.second / m.n), Largest: math.Float64frombits(m.largest),
	}
	switch {
	case m.n == 0:
		s.Mean, s.Std, s.Largest = math.NaN(), math.NaN(), math.NaN()
	case !m.varied:
		s.Mean, s.Std = m.first, 0 // no sum rounds them
	}
	if t.DType.IsFloat() {
		s.Origin = m.origin(t, s)
	}
	return s
}

// origin recognises fresh memory and the values of PyTorch's initialisers.
func (m *moments) origin(t *Tensor, s Statistics) string {
	switch {
	case s.Elements == 0 || s.NonFinite == s.Elements:
		return ""
	case s.Zeros == s.Elements:
		return "all zeros"
	case s.Elements > 1 && !m.varied:
		return fmt.Sprintf("every element is %.6g", m.first)
	case m.neverWritten(t):
		return "denormal numbers, as memory that nobody wrote holds (torch.empty)"
	case m.standardNormal(s):
		return "as torch.randn draws them: mean 0, standard deviation 1"
	}
	return uniformInit(t.Shape, s)
}
