package variant

import "github.com/difftest/difftest/harness/internal/oracle"

// In returns the variant in a lower precision. Its roundings are the precision's own; nothing else
// of the precision is used.
func (v Variant) In(p oracle.Precision) Variant {
	round := func(x float32) float32 { return float32(p.Round(float64(x))) }
	switch {
	case !p.Rounds():
		return v
	case p.Stores():
		v.Store = round
		return v
	}
	return v.Multiplying(round)
}

// Multiplying returns the variant with both factors of every product rounded. Sums no longer begin
// with a bias, which is no factor, and weights are not transposed.
func (v Variant) Multiplying(round func(float32) float32) Variant {
	all := func(values []float32) []float32 {
		out := make([]float32, len(values))
		for i, x := range values {
			out[i] = round(x)
		}
		return out
	}
	dot := v.Dot
	if dot == nil {
		dot = Sequential
	}
	v.Dot = func(a, b []float32) float32 { return dot(all(a), all(b)) }
	v.BiasFirst, v.Transposed = false, false
	return v
}
