package diagnose

import (
	"math"

	"github.com/difftest/difftest/harness/internal/num"
)

// dead decides if an output is one number, or one row repeated, and the truth is not. It names no
// cause: zero parameters give zeros, and so does an output that nobody writes.
func dead(in *input) *finding {
	width := num.Last(in.comparison.WantShape)
	switch {
	case math.IsInf(in.got[0], 0):
		return nil
	case repeats(in.got, 1) && !repeats(in.truth.Value, 1):
		return findingf(Dead, "every element is %g", in.got[0])
	case repeats(in.got, width) && !repeats(in.truth.Value, width):
		return findingf(Dead, "every row is the same, and the expected ones are not")
	}
	return nil
}

// repeats reports whether all blocks of the given width equal the first.
func repeats(values []float64, width int) bool {
	for i := width; i < len(values); i++ {
		if values[i] != values[i-width] {
			return false
		}
	}
	return true
}

func nonFinite(in *input) *finding {
	c := in.comparison
	if c.NonFinite == 0 {
		return nil
	}
	f := findingf(NonFinite, "%d of %d elements are NaN or infinite where the case expects a number, or the reverse",
		c.NonFinite, c.Elements)
	elsewhere, width := 0, num.Last(c.WantShape)
	for i, z := range c.Z {
		if math.IsInf(z, 1) && in.visible[i/width] > 0 {
			elsewhere++
		}
	}
	if elsewhere == 0 {
		f.because("all of them in rows that see no key: PyTorch gives a context of zeros there in " +
			"scaled_dot_product_attention and NaN in nn.MultiheadAttention's eval mode; " +
			"this case says which in empty_row")
	}
	return f
}
