package oracle

// InDouble returns the problem for an implementation that computes in float64. The sigma of its
// results must be multiplied by [DoubleRatio].
func (p *Problem) InDouble() *Problem {
	q := p.Uncached()
	q.Precision = Precision{small: true}
	return q
}

// DoubleRatio is a rounding of float64 over a rounding of float32.
const DoubleRatio = 0x1p-53 / u
