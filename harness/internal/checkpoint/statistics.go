package checkpoint

import (
	"cmp"
	"math"

	"github.com/difftest/difftest/harness/internal/npy"
)

// Statistics describes the values of a tensor.
type Statistics struct {
	Elements, Zeros, NonFinite int

	// Mean, Std and Largest, a magnitude, describe the finite values. They are NaN without any.
	Mean, Std, Largest float64

	// Origin tells the likely origin of values that nobody trained or loaded: "all zeros", "as
	// torch.randn draws them". It is a guess, and empty if there is none.
	Origin string
}

// Statistics reads a tensor in the order of the file and describes its values. Their order changes
// the rounding of numbers alone. An error names the first wrong element in row-major order.
func (t *Tensor) Statistics() (Statistics, error) {
	var m moments
	order := t.place.view.storageOrder()
	p := newPrinter(t, order)
	err := t.inOrder(order).each(func(s *Stream, block []byte) error {
		p.add(block)
		m.add(s.Decode(block))
		return nil
	})
	if err != nil {
		return Statistics{}, cmp.Or(t.each(func(*Stream, []byte) error { return nil }), err)
	}
	t.print = p.fingerprint()
	return m.statistics(t), nil
}

// neverWritten reports whether more than 1 % of the values are float32 denormals, which trained
// weights do not contain. All denormals of float16 are larger.
func (m *moments) neverWritten(t *Tensor) bool {
	return t.DType != npy.Float64 && m.denormal*100 > m.elements
}

// enough is the number of values that tell one distribution from another.
const enough = 256

// standardNormal compares mean, deviation and kurtosis with N(0, 1). Each may differ by 5 of its
// standard errors.
func (m *moments) standardNormal(s Statistics) bool {
	if s.Elements < enough || s.NonFinite > 0 {
		return false
	}
	kurtosis := m.fourth / m.n / (s.Std * s.Std * s.Std * s.Std)
	return math.Abs(s.Mean) < 5/math.Sqrt(m.n) && math.Abs(s.Std-1) < 5/math.Sqrt(2*m.n) &&
		math.Abs(kurtosis-3) < 5*math.Sqrt(24/m.n)
}

// uniformInit recognises the two uniform distributions from which PyTorch draws matrices (out, in).
// Their bound is sharp: the largest of n values lies within about 1/n of it.
func uniformInit(shape []int, s Statistics) string {
	if len(shape) != 2 || s.Elements < enough || s.NonFinite > 0 {
		return ""
	}
	n, out, in := float64(s.Elements), float64(shape[0]), float64(shape[1])
	for _, init := range []struct {
		bound float64
		text  string
	}{
		{1 / math.Sqrt(in), "uniform within 1/sqrt(in), as nn.Linear begins"},
		{
			math.Sqrt(6 / (in + out)),
			"uniform within sqrt(6/(in + out)), as nn.MultiheadAttention begins (xavier_uniform_)",
		},
	} {
		sharp := s.Largest <= init.bound*(1+1e-6) && s.Largest >= init.bound*(1-10/n)
		// The standard deviation of n uniform values has a relative standard error of sqrt(0.2/n).
		if sharp && math.Abs(s.Std*math.Sqrt(3)/init.bound-1) < 5*math.Sqrt(0.2/n) {
			return init.text
		}
	}
	return ""
}
