package diagnose

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/compare"
)

// Class is what sort of failure an output is.
type Class string

// The classes of an output.
const (
	Right          Class = "match"           // within the noise: nothing is wrong
	Rounding       Class = "rounding"        // errors as of a lower precision: of its size, in every row, without direction
	MissingFeature Class = "missing-feature" // the weights are right; a mask, the scale or the biases are missing or wrong
	WrongWeights   Class = "wrong-weights"   // the output has nothing in common with the expected one
	Dead           Class = "dead"            // zero or constant
	NonFinite      Class = "non-finite"      // NaN or infinite where a number was expected, or the reverse
	Unclear        Class = "unclear"         // none of these for sure
)

// finding is a class and the numbers that decided it.
type finding struct {
	class   Class
	reasons []string
}

func found(c Class, format string, args ...any) *finding {
	return &finding{c, []string{fmt.Sprintf(format, args...)}}
}

func (f *finding) because(format string, args ...any) *finding {
	f.reasons = append(f.reasons, fmt.Sprintf(format, args...))
	return f
}

// checklist is asked from top to bottom; the first that answers decides. Proofs come before
// comparisons of size, so that a size never overrules one.
var checklist = []func(*evidence) *finding{
	otherShape,
	nonFinite,
	dead,
	replayed,
	rounding,
	reordered,
	replayedPair,
	rowsOfAMask,
	rowsOfTheScores,
	unrelated,
	nothingFits,
}

func otherShape(e *evidence) *finding {
	if e.c.SameShape() {
		return nil
	}
	return found(Unclear, "the output has shape %s, want %s: no number was compared",
		attention.FormatShape(e.c.GotShape), attention.FormatShape(e.c.WantShape))
}

func nonFinite(e *evidence) *finding {
	if e.c.NonFinite == 0 {
		return nil
	}
	f := found(NonFinite, "%d of %d elements are NaN or infinite where the case expects a number, or the reverse", e.c.NonFinite, e.c.Elements)
	elsewhere, width := 0, last(e.c.WantShape)
	for i, z := range e.c.Z {
		if math.IsInf(z, 1) && e.visible[i/width] > 0 {
			elsewhere++
		}
	}
	if elsewhere == 0 {
		f.because("all of them in rows that see no key: PyTorch gives a context of zeros there in scaled_dot_product_attention and NaN in nn.MultiheadAttention's eval mode; this case says which in empty_row")
	}
	return f
}

// dead: an output that is one number, or one row over and over, where the truth is not.
func dead(e *evidence) *finding {
	width := last(e.c.WantShape)
	switch {
	case constant(e.got, 1) && !constant(e.truth.Value, 1):
		return found(Dead, "every element is %g", e.got[0])
	case constant(e.got, width) && !constant(e.truth.Value, width):
		return found(Dead, "every row is the same: the output does not depend on the input")
	}
	return nil
}

// replayed: the output is that of a mistake made on this case.
func replayed(e *evidence) *finding { return explained(e.matches) }

// replayedPair: it is that of two mistakes made at once.
func replayedPair(e *evidence) *finding {
	if !affordable(e.problem) {
		return nil
	}
	e.matches = e.pairs()
	return explained(e.matches)
}

// explained names what the output is. A mistake of layout, which no class is about, leaves the
// class unclear and the cause named.
func explained(matches []Match) *finding {
	if len(matches) == 0 {
		return nil
	}
	var titles []string
	classes := map[Class]bool{}
	for _, m := range matches {
		titles = append(titles, m.Title())
		for _, mistake := range m.Mistakes {
			classes[classOf(mistake.Kind)] = true
		}
	}
	m := matches[0]
	class := classOf(m.Mistakes[0].Kind)
	if len(classes) > 1 {
		class = Unclear
	}
	f := found(class, "the output is this case computed with %s", strings.Join(titles, ", or with "))
	f.because("residual %.2g (max z %.2g); the next mistake leaves %.2g", m.Residual, m.MaxZ, m.Residual*m.Margin)
	if len(matches) > 1 {
		f.because("this case cannot tell these apart")
	}
	return f
}

func classOf(k Kind) Class {
	switch k {
	case Weights:
		return WrongWeights
	case Missing, Altered:
		return MissingFeature
	}
	return Unclear
}

// Unit roundoffs of lower precisions, in units of float32's 2^-24.
var precisions = []struct {
	name  string
	ratio float64
}{
	{"float16 or TensorFloat-32 (11 bits)", 0x1p13},
	{"bfloat16 (8 bits)", 0x1p16},
}

// rounding: the errors fit the noise model of a lower precision; no row stands out, as rows do
// that a mask leaves alone; and they have no direction: not that of a known mistake, not that of
// the output itself (a gain), not the same in every row (a shift).
func rounding(e *evidence) *finding {
	// Measured on the committed cases in bfloat16 and TensorFloat-32: rows differ by a factor of up
	// to 7 (31 where the softmax is saturated), the cosine with a mistake is at most 0.25. A scale
	// that is 0.1 % off has a cosine of 0.82 and more.
	const rowSpread, direction = 100, 0.5
	least, most := e.rowNoise()
	if most == 0 || !(most <= rowSpread*least) || e.gained() > direction || e.shifted() > direction {
		return nil
	}
	for _, r := range e.replays {
		if !r.mistake.Random && math.Abs(e.towards(r.outputs[0])) > direction {
			return nil
		}
	}
	for _, p := range precisions {
		if e.c.MaxZ <= compare.MaxZ*p.ratio && e.c.RMSZ <= compare.MaxRMSZ*p.ratio {
			return found(Rounding, "max z %.3g and rms z %.3g are within the noise of %s, in every row and without direction",
				e.c.MaxZ, e.c.RMSZ, p.name)
		}
	}
	return nil
}

// reordered: the expected values, at other places.
func reordered(e *evidence) *finding {
	got, want := slices.Sorted(slices.Values(e.got)), slices.Sorted(slices.Values(e.truth.Value))
	noise := compare.MaxZ * slices.Max(e.truth.Sigma)
	for i := range got {
		if !(math.Abs(got[i]-want[i]) <= noise) {
			return nil
		}
	}
	return found(Unclear, "the output holds the expected values in another order: a layout or the order of reading is wrong, not the weights")
}

// rowsOfAMask: the wrong rows are exactly those that a missing mask touches, and a row that depends
// on all of query, key, value and every weight is right.
func rowsOfAMask(e *evidence) *finding {
	witness := e.sensitiveRow()
	if witness == "" {
		return nil
	}
	for _, r := range e.replays {
		if r.mistake.Kind != Missing {
			continue
		}
		if slices.Equal(e.wrongRows(e.c), e.wrongRows(r.against[0])) {
			return found(MissingFeature, "%s mixes several keys and is right, so inputs and weights are", witness).
				because("the wrong rows are those that change with %s, but the output is not that", r.mistake.Title)
		}
	}
	return nil
}

// sensitiveRow names a right row that sees two keys or more and is not saturated: leaving out
// the scale changes it. Every weight has a part in such a row.
func (e *evidence) sensitiveRow() string {
	i := slices.IndexFunc(e.replays, func(r replay) bool { return r.mistake.ID == "scale-missing" })
	if i < 0 {
		return ""
	}
	unscaled := e.wrongRows(e.replays[i].against[0])
	rows := e.c.WantShape[len(e.c.WantShape)-2]
	for row, wrong := range e.wrongRows(e.c) {
		if !wrong && unscaled[row] && e.visible[row] >= 2 {
			return fmt.Sprintf("row %d of %s", row%rows, e.structure.label(row/rows))
		}
	}
	return ""
}

// rowsOfTheScores: a row that sees one key has softmax 1 whatever its score, so it shows what
// becomes of the values alone.
func rowsOfTheScores(e *evidence) *finding {
	single, right := 0, 0
	for row, wrong := range e.wrongRows(e.c) {
		switch {
		case e.visible[row] == 1 && wrong:
			return nil
		case e.visible[row] == 1:
			single++
		case e.visible[row] > 1 && !wrong:
			right++
		}
	}
	if single == 0 || right > 0 {
		return nil
	}
	return found(Unclear, "the %d rows that see one key are right and all others are wrong: the values and what becomes of them are right, how they are weighed is not (query, key, scale, mask, softmax, number of heads)", single)
}

// unrelated: as far from the truth in direction as random weights lead on this case, in every
// row that sees a key, where no missing mask or scale leads as far. Inverted masks and mixed up
// heads may lead as far, but have been replayed by now and are not what happened.
func unrelated(e *evidence) *finding {
	limit, random := 0.0, false
	for _, r := range e.replays {
		if b := r.band(); r.mistake.Random {
			random = true
			limit = math.Max(limit, 1.5*math.Max(math.Abs(b.Cosine.Min), math.Abs(b.Cosine.Max)))
		}
	}
	limit = math.Min(limit, 1)
	if !random || !(math.Abs(e.c.Cosine) <= limit) || e.rightRows() > 0 {
		return nil
	}
	for _, r := range e.replays {
		if r.mistake.Kind == Missing && !(r.band().Cosine.Min > limit) {
			return found(Unclear, "cosine %.3f is as with random weights (up to %.3f), but %s leads as far on this case (%.3f)",
				e.c.Cosine, limit, r.mistake.Title, r.band().Cosine.Min)
		}
	}
	f := found(WrongWeights, "cosine %.3f: nothing in common with the expected output, as random weights give on this case (up to %.3f)", e.c.Cosine, limit)
	f.because("rel %.3g, gain %.3g: %s", e.c.Rel, e.c.Gain, e.gains())
	if !affordable(e.problem) {
		f.because("two mistakes at once, which can lead as far, were not tried: the case is large")
	}
	if e.masked() {
		f.because("masks cannot be judged until the weights load")
	}
	return f
}

// gains holds the size of the output against that of outputs of random weights: it tells
// parameters that were never loaded from others of the right scale.
func (e *evidence) gains() string {
	const spread = 1.5 // beyond the draws that were made
	var words []string
	for _, r := range e.replays {
		if !r.mistake.Random {
			continue
		}
		b, fits := r.band(), "does not fit"
		if e.c.Gain >= b.Gain.Min/spread && e.c.Gain <= b.Gain.Max*spread {
			fits = "fits"
		}
		words = append(words, fmt.Sprintf("%s %s (%.3g to %.3g here)", fits, r.mistake.Title, b.Gain.Min, b.Gain.Max))
	}
	return strings.Join(words, ", ")
}

func (e *evidence) masked() bool {
	p := e.problem
	return p.Causal || p.Allow != nil || p.Block != nil || p.Padding != nil || p.Bias != nil
}

func nothingFits(e *evidence) *finding {
	f := found(Unclear, "rel %.3g, gain %.3g, cosine %.3f: no known mistake gives this output on this case", e.c.Rel, e.c.Gain, e.c.Cosine)
	if e.problem.Layer != nil {
		f.because("it has more in common with the expected output than one of random weights")
	}
	return f
}
