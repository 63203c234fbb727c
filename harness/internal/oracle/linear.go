package oracle

// linear computes the given rows of y = x W^T + b: (B, T, In) -> (B, T, Out). If x is an input, the
// product may be in the cache.
//
//	Var y = rounding of the sum S + Σ W² Var x + rounding of the addition of b
//	      = (n/3 + 1) S² u²/3 + Σ W² ((n/6 + 1) x² u²/3 + rounding of the factors + Var x)
//	        + rounding of the addition of b
//
// A sum may also begin with b. Its n-1 partial sums then run from b to b + S instead of from 0 to
// S, and their mean square is b² + b S + S²/3 instead of S²/3. The larger of the two is taken.
func (s *pass) linear(cache *cache, m Linear, x Field, rows rowSet) Field {
	if m.Skipped {
		return x
	}
	y := borrowField(s.detail, x.Shape[0], x.Shape[1], m.Out)
	if rows != nil {
		y.clear()
	}
	w := &weight{value: m.Weight, in: m.In, out: m.Out}
	defer w.release()
	cache.multiply(s, y.Value, x.Value, w, rows)
	if s.noisy() {
		w.square()
		noise := m.noiseOfTerms(x, rows, s.Precision.ofProduct())
		s.multiply(y.Variance, noise, w, rows)
		giveBack(noise)
	}
	for row := range len(y.Value) / m.Out {
		if rows.has(row) {
			m.finish(y.row(row))
		}
	}
	return s.Precision.linear(m, y)
}

// noiseOfTerms returns the factors of W² in the given rows of Var y,
//
//	(n/6 + 1) x² u²/3 + rounding of the factors + Var x
//
// in borrowed memory. Other rows hold any values.
func (m Linear) noiseOfTerms(x Field, rows rowSet, factors float64) []float64 {
	own := (float64(m.In)/6+1)*roundoff + factors
	noise := borrow(len(x.Value))
	for row := range len(x.Value) / m.In {
		if !rows.has(row) {
			continue
		}
		for i := row * m.In; i < (row+1)*m.In; i++ {
			noise[i] = own*x.Value[i]*x.Value[i] + x.Variance[i]
		}
	}
	return noise
}

// finish adds the bias to a row, and the noise that grows with the sum and not with its terms.
func (m Linear) finish(y Field) {
	if y.noisy() {
		own := (float64(m.In)/3 + 1) * roundoff
		for o, sum := range y.Value {
			y.Variance[o] += own * sum * sum
		}
	}
	if m.Bias == nil {
		return
	}
	if y.noisy() {
		for o, b := range m.Bias {
			sum := y.Value[o]
			biasFirst := float64(m.In-1) * max(0, b*b+b*sum)
			y.Variance[o] += roundoff * ((sum+b)*(sum+b) + biasFirst)
		}
	}
	for o, b := range m.Bias {
		y.Value[o] += b
	}
}
