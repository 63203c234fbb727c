package diagnose

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/num"
)

func otherShape(in *input) *finding {
	c := in.comparison
	if c.SameShape() {
		return nil
	}
	return findingf(Unclear, "the output has shape %s, want %s: no number was compared",
		attention.FormatShape(c.GotShape), attention.FormatShape(c.WantShape))
}

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

// reordered decides if an output has the expected values in another order: sorted, it equals the
// truth, and elements are far from where they should be.
func reordered(in *input) *finding {
	const far = 1000 // times the noise
	got, want := slices.Sorted(slices.Values(in.got)), slices.Sorted(slices.Values(in.truth.Value))
	noise := in.comparison.Limits.Z * slices.Max(in.truth.Sigma)
	moved := 0.0
	for i := range got {
		if !(math.Abs(got[i]-want[i]) <= noise) {
			return nil
		}
		moved = math.Max(moved, math.Abs(in.got[i]-in.truth.Value[i]))
	}
	if moved <= far*noise {
		return nil
	}
	return findingf(Unclear, "the output holds the expected values in another order: "+
		"look for a layout, or for the order in which something is read or written")
}
