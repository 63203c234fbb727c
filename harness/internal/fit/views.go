package fit

// query returns the query of a row as it meets the keys, (E).
func (x *jacobian) query(n, i int) []float64 {
	return x.t.Query[(n*x.t.Queries+i)*x.t.Width:][:x.t.Width]
}

// key returns the key that head n sees at index j, (E).
func (x *jacobian) key(n, j int) []float64 {
	return x.t.Key[(n/x.t.Group*x.t.Keys+j)*x.t.Width:][:x.t.Width]
}

// value returns the value that head n sees at index j, (Ev).
func (x *jacobian) value(n, j int) []float64 {
	return x.t.Value[(n/x.t.Group*x.t.Keys+j)*x.t.ValueWidth:][:x.t.ValueWidth]
}

// row returns a row of a context (N, L, Ev).
func (x *jacobian) row(context []float64, n, i int) []float64 {
	return context[(n*x.t.Queries+i)*x.t.ValueWidth:][:x.t.ValueWidth]
}

// eachRow visits every head and query whose output row holds numbers.
func (x *jacobian) eachRow(f func(n, i int)) {
	for n := range x.t.Heads {
		for i := range x.t.Queries {
			if x.weight[n/x.heads*x.t.Queries+i] != 0 {
				f(n, i)
			}
		}
	}
}

// eachPair visits every query and key with a weight, whose index is at.
func (x *jacobian) eachPair(f func(n, i, j, at int)) {
	x.eachRow(func(n, i int) {
		for j := range x.t.Keys {
			if at := (n*x.t.Queries+i)*x.t.Keys + j; x.t.Weights[at] != 0 {
				f(n, i, j, at)
			}
		}
	})
}

// merged puts the heads of a position side by side: (N, L, Ev) -> (B*L, H*Ev).
func (x *jacobian) merged(c []float64) []float64 {
	out := make([]float64, len(c))
	x.eachPlace(func(together, apart, width int) { copy(out[together:][:width], c[apart:]) })
	return out
}

// apart undoes merged.
func (x *jacobian) apart(c []float64) []float64 {
	out := make([]float64, len(c))
	x.eachPlace(func(together, apart, width int) { copy(out[apart:][:width], c[together:]) })
	return out
}

func (x *jacobian) eachPlace(f func(together, apart, width int)) {
	t := x.t
	for n := range t.Heads {
		for i := range t.Queries {
			merged := (n/x.heads*t.Queries+i)*x.heads + n%x.heads
			f(merged*t.ValueWidth, (n*t.Queries+i)*t.ValueWidth, t.ValueWidth)
		}
	}
}
