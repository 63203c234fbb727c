package diagnose

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
)

// relation is a way in which an output follows from the expected one.
type relation struct {
	text   string
	want   compare.Expected // the output that the relation gives, with its noise
	fitted int              // how many numbers were taken from the output
	step   bool             // the relation is a step after the right computation
}

// spare is how many more elements than fitted numbers a relation needs in every group of elements
// that has its own numbers. Fewer could not refute it.
const spare = 2

// holds reports whether the output is the relation's, within the noise. Fitted numbers take part of
// the noise away, so the limit is lower for them.
func (r relation) holds(in *input) (compare.Comparison, bool) {
	c := compare.Outputs(r.want.Shape, in.got, r.want)
	free := float64(c.Elements-r.fitted) / float64(c.Elements)
	return c, c.Explained() && c.RMSZ <= c.Limits.RMS*math.Sqrt(free)
}

// related decides if one of some relations holds, and names all that hold. An output is right but
// for a step if all of them are steps.
func related(in *input, relations ...*relation) *finding {
	f := &finding{class: MissingFeature}
	var proof string
	for _, r := range relations {
		if r == nil {
			continue
		}
		if c, ok := r.holds(in); ok {
			f.because("the output is %s", r.text)
			if !r.step {
				f.class = Unclear
			}
			proof = fmt.Sprintf("residual %.2g (max z %.2g)", c.Rel, c.MaxZ)
		}
	}
	switch len(f.reasons) {
	case 0:
		return nil
	case 1:
		return f.because("%s", proof)
	}
	return f.because("this case cannot tell these apart")
}

// gainOrShift decides if the output is the expected one times a number, or plus the same row
// everywhere, to rounding. Then no parameter needs to differ.
func gainOrShift(in *input) *finding {
	if in.comparison.NonFinite > 0 {
		return nil
	}
	if f := related(in, gain(in)); f != nil {
		return f
	}
	if f := related(in, shift(in)); f != nil {
		return f
	}
	return related(in, gainAndShift(in))
}

// proportional decides if every feature, or every row, is the expected one times a number of its
// own, or plus another. A norm without its weight, or a row that is not normalised, has this
// effect.
func proportional(in *input) *finding {
	if f := related(in, factors(in, byFeature), factors(in, byRow)); f != nil {
		return f
	}
	return related(in, factorsAndShifts(in, byFeature), factorsAndShifts(in, byRow))
}

// gain is the expected output times a number.
func gain(in *input) *relation {
	one := whole(in)
	if one.informative(in, 1) == 0 {
		return nil
	}
	g := one.gains(in)
	return one.relation(in, g, []float64{0}, 1, fmt.Sprintf(
		"the expected one times %.7g%s in every element: look for a scale of the values or of the result",
		g[0], ofSize(in, g[0])))
}

// ofSize names a gain by a size of the output, if it is the size, its root, or one over either.
func ofSize(in *input, gain float64) string {
	const near = 2e-6
	for _, n := range in.comparison.WantShape {
		root := math.Sqrt(float64(n))
		for _, word := range []struct {
			value float64
			text  string
		}{
			{root, fmt.Sprintf("sqrt(%d)", n)},
			{1 / root, fmt.Sprintf("1/sqrt(%d)", n)},
			{float64(n), fmt.Sprint(n)},
			{1 / float64(n), fmt.Sprintf("1/%d", n)},
		} {
			if n > 2 && math.Abs(gain/word.value-1) < near {
				return fmt.Sprintf(" (%s, a size of the output)", word.text)
			}
		}
	}
	return ""
}

// shift is the expected output plus the same row everywhere.
func shift(in *input) *relation {
	features, mean := groupsOf(in, byFeature), meanShift(in)
	if len(in.got) < (1+spare)*len(mean) {
		return nil
	}
	gains := make([]float64, len(mean))
	for i := range gains {
		gains[i] = 1
	}
	text := fmt.Sprintf("the expected one plus the same %d numbers in every row, of a root mean square of %.3g: "+
		"look for a bias of the output that is left out, added twice, or another", len(mean), num.RMS(mean))
	return features.relation(in, gains, mean, len(mean), text)
}

// gainAndShift is the expected output times a number, plus another number.
func gainAndShift(in *input) *relation {
	one := whole(in)
	if one.informative(in, 2) == 0 {
		return nil
	}
	g, s := one.lines(in)
	return one.relation(in, g, s, 2,
		fmt.Sprintf("the expected one times %.7g, plus %.7g, in every element", g[0], s[0]))
}

// factors is the expected output times a number for each group.
func factors(in *input, of grouping) *relation {
	g := groupsOf(in, of)
	known := g.informative(in, 1)
	if known < 2 {
		return nil
	}
	f := g.gains(in)
	if of == byRow && slices.Contains(f, 0) {
		return nil // such a row was not written
	}
	return g.relation(in, f, make([]float64, g.n), known, fmt.Sprintf(
		"the expected one, each %s times a factor of its own: %s", of, listed(f, of, in.rowNumber)))
}

// factorsAndShifts is the expected output times a number, plus another, for each group.
func factorsAndShifts(in *input, of grouping) *relation {
	g := groupsOf(in, of)
	known := g.informative(in, 2)
	if known < 2 {
		return nil
	}
	f, s := g.lines(in)
	return g.relation(in, f, s, 2*known, fmt.Sprintf(
		"the expected one, each %s times a factor and plus a shift of its own: factors %s, shifts %s",
		of, rangeOf(f), rangeOf(s)))
}

// listed writes factors: the few that are not 1, with their groups, or the least and the greatest.
func listed(factors []float64, of grouping, rowNumber func(i int) int) string {
	const few, near = 4, 1e-5
	var words []string
	for i, f := range factors {
		if of == byRow {
			i = rowNumber(i)
		}
		if math.Abs(f-1) > near {
			words = append(words, fmt.Sprintf("%.6g for %s %d", f, of, i))
		}
	}
	if n := len(words); n > 0 && n <= few && n < len(factors) {
		return strings.Join(words, ", ") + ", 1 for the others"
	}
	return rangeOf(factors)
}

func rangeOf(values []float64) string {
	return fmt.Sprintf("from %.6g to %.6g", slices.Min(values), slices.Max(values))
}
