package diagnose

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Class is what sort of failure an output is.
type Class string

// The classes of an output.
const (
	Right          Class = "match"           // within the noise: nothing is wrong
	Rounding       Class = "rounding"        // errors as of a lower precision: of its size, everywhere, without direction
	MissingFeature Class = "missing-feature" // the weights are right; a mask, the scale or the biases are missing or wrong
	WrongWeights   Class = "wrong-weights"   // the output is as unrelated to the expected one, and as large, as random weights make it
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
	dead,
	interrupted,
	replayed,
	interrupted,
	lowered,
	interrupted,
	rounding,
	interrupted,
	reordered,
	replayedLower,
	interrupted,
	gainOrShift,
	leastSquares,
	replayedPair,
	interrupted,
	fitted,
	nonFinite,
	unwritten,
	rowsOfAMask,
	rowsOfTheScores,
	unrelated,
	nothingFits,
}

// structural is what is left of the checklist where the oracle does not know the computation, so
// that no mistake can be made in it.
var structural = []func(*evidence) *finding{
	otherShape,
	nonFinite,
	dead,
	reordered,
	unwritten,
	notKnown,
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
	elsewhere, width := 0, num.Last(e.c.WantShape)
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

// dead: an output that is one number, or one row over and over, where the truth is not. Zero
// parameters give zeros, and so does an output that was never written: neither is named.
func dead(e *evidence) *finding {
	width := num.Last(e.c.WantShape)
	switch {
	case math.IsInf(e.got[0], 0):
		return nil
	case constant(e.got, 1) && !constant(e.truth.Value, 1):
		return found(Dead, "every element is %g", e.got[0])
	case constant(e.got, width) && !constant(e.truth.Value, width):
		return found(Dead, "every row is the same: the output does not depend on the input")
	}
	return nil
}

// interrupted: not all was tried, so that nothing can be said of what no mistake gives.
func interrupted(e *evidence) *finding {
	if e.cut == "" {
		return nil
	}
	f := found(Unclear, "interrupted: %s", e.cut)
	if nearest, off := e.nearest(); off <= near {
		f.because("of what was tried, %s comes nearest: residual %.2g", nearest.Title, off)
	}
	return f
}

// nearest is the mistake whose values come nearest to the output.
func (e *evidence) nearest() (m catalogue.Mistake, off float64) {
	off = math.Inf(1)
	for _, r := range e.candidates {
		if d := distance(e.part.got, r.outputs[0]); d < off {
			m, off = r.mistake, d
		}
	}
	return m, off
}

// replayed: the output is that of a mistake made on this case.
func replayed(e *evidence) *finding {
	e.matches = e.singles()
	return explained(e.matches)
}

// replayedPair: it is that of two mistakes made at once.
func replayedPair(e *evidence) *finding {
	if !e.affordable() {
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
	f := found(only(classes), "the output is this case computed with %s", strings.Join(titles, ", or with "))
	m := matches[0]
	next := "no other mistake was tried"
	if !math.IsInf(m.Next, 1) {
		next = fmt.Sprintf("the next mistake leaves %.2g", m.Next)
	}
	f.because("residual %.2g (max z %.2g); %s", m.Residual, m.MaxZ, next)
	if m.Trace > 0 {
		f.because("its errors lead where rounded inputs and parameters lead: cosine %.2f, 0 by chance", m.Trace)
	}
	if len(matches) > 1 {
		f.because("this case cannot tell these apart")
	}
	return f
}

// only is the class of mistakes that have one. Fewer bits are beside the point where there is another.
func only(classes map[Class]bool) Class {
	if len(classes) > 1 {
		delete(classes, Rounding)
	}
	if len(classes) > 1 {
		return Unclear
	}
	for class := range classes {
		return class
	}
	return Unclear
}

func classOf(k catalogue.Kind) Class {
	switch k {
	case catalogue.Unloaded, catalogue.Parameters:
		return WrongWeights
	case catalogue.Missing, catalogue.Altered:
		return MissingFeature
	case catalogue.Rounded:
		return Rounding
	}
	return Unclear
}

// rounding: the errors fit the noise model of a lower precision, in every row and every feature,
// with nothing standing out, and without direction. Parameters that are slightly off everywhere
// look the same.
func rounding(e *evidence) *finding {
	const least = 0.1 // root mean square z in a lower precision: 0.33 to 1.06 on the committed cases
	if e.standsOut() || e.directed() {
		return nil
	}
	if e.c.MaxZ <= compare.MaxZ {
		return found(Rounding, "no element is outside the noise by itself, but all together are %.2g times as noisy as sigma, at most %.1f is allowed",
			e.c.RMSZ, e.c.Limits.RMS)
	}
	for _, p := range []struct {
		name       string
		arithmetic oracle.Precision
	}{{"float16 or TensorFloat-32 (11 bits)", oracle.Float16}, {"bfloat16 (8 bits)", oracle.BFloat16}} {
		f, err := e.problem.In(p.arithmetic).Rows(e.ctx, e.part.rows, oracle.WithNoise)
		if err != nil {
			e.cut = "the noise of fewer bits, and no two mistakes at once"
			return nil
		}
		low := f.Expected()
		low.Value = e.part.truth.Value
		if c := compare.Outputs(low.Shape, e.part.got, low); c.OK() && c.RMSZ >= least {
			return found(Rounding, "errors in every row and feature, without direction, of the size that %s gives, or parameters slightly off (rel %.3g; %.2g times the noise of that precision)",
				p.name, c.Rel, c.RMSZ)
		}
	}
	return nil
}

// standsOut says whether an element, a row or a feature is much noisier than the others, as where
// a mask leaves rows alone or one weight is wrong.
//
// Measured on the committed cases in bfloat16 and TensorFloat-32: the largest z is at most 5.0
// times their root mean square; rows differ by a factor of up to 5.3, 12 where the softmax is
// saturated; features by up to 2.5.
func (e *evidence) standsOut() bool {
	const elements, rows, features = 10, 50, 10
	return e.c.MaxZ > elements*e.c.RMSZ || spread(e.noiseOfRows()) > rows || spread(e.noiseOfFeatures()) > features
}

// directed says whether the errors point somewhere: where a known mistake would lead, along the
// output itself (a gain) or the query (a residual connection), or the same way in every row (a
// shift). Measured as above, the cosine is at most 0.34, and that of a scale 0.1 % off is 0.82; a
// limit of 0.45 let through weights of one head that were half a percent off.
func (e *evidence) directed() bool {
	const cosine = 0.35
	if e.along(e.truth.Value) > cosine || e.along(e.problem.Query.Value) > cosine || e.shifted() > cosine {
		return true
	}
	for _, r := range e.replays {
		if r.mistake.Family != catalogue.Precision && r.mistake.Replayable() && math.Abs(e.part.towards(r.outputs[0])) > cosine {
			return true
		}
	}
	return false
}

// reordered: the expected values, at other places. The output is far from the truth, and sorted it
// is not.
func reordered(e *evidence) *finding {
	const far = 1000 // times the noise
	got, want := slices.Sorted(slices.Values(e.got)), slices.Sorted(slices.Values(e.truth.Value))
	noise := e.c.Limits.Z * slices.Max(e.truth.Sigma)
	moved := 0.0
	for i := range got {
		if !(math.Abs(got[i]-want[i]) <= noise) {
			return nil
		}
		moved = math.Max(moved, math.Abs(e.got[i]-e.truth.Value[i]))
	}
	if moved <= far*noise {
		return nil
	}
	return found(Unclear, "the output holds the expected values in another order: a layout or the order of reading is wrong, not the weights")
}

// unwritten: the wrong rows hold no result of their own.
func unwritten(e *evidence) *finding {
	width := num.Last(e.c.WantShape)
	for row, wrong := range wrongRows(e.c) {
		if wrong && !constant(e.got[row*width:][:width], 1) && !e.copied(row) {
			return nil
		}
	}
	if len(e.structure.WrongRows) == 0 {
		return nil
	}
	return found(Unclear, "every wrong row is constant or a copy of another: rows that were not written, or written over")
}

// rowsOfAMask: the wrong rows are exactly those that a missing mask touches, and a row that depends
// on all of query, key, value and every weight is right.
func rowsOfAMask(e *evidence) *finding {
	witness := e.sensitiveRow()
	if witness == "" {
		return nil
	}
	wrong := wrongRows(e.part.c)
	for _, r := range e.replays {
		if r.mistake.Kind == catalogue.Missing && slices.Equal(wrong, wrongRows(r.against[0])) && e.touches(r.mistake) {
			return found(MissingFeature, "%s mixes several keys and is right, so inputs and weights are", witness).
				because("the wrong rows are those that change with %s, but the output is not that", r.mistake.Title)
		}
	}
	return nil
}

// touches says whether the wrong rows are those that a mistake changes, also where they are not in the part.
func (e *evidence) touches(m catalogue.Mistake) bool {
	if !e.part.partial() {
		return true
	}
	wrong, ok := catalogue.Make(e.problem, nil, m)
	if !ok {
		return false
	}
	f, err := wrong.Rows(e.ctx, nil, oracle.ValuesAlone)
	return err == nil && slices.Equal(wrongRows(e.c), wrongRows(compare.Outputs(f.Shape, f.Value, e.truth)))
}

// sensitiveRow names a right row that sees two keys or more and is not saturated: leaving out
// the scale changes it. Every weight has a part in such a row.
func (e *evidence) sensitiveRow() string {
	i := slices.IndexFunc(e.replays, func(r replay) bool { return r.mistake.ID == "scale-missing" })
	if i < 0 {
		return ""
	}
	unscaled := wrongRows(e.replays[i].against[0])
	rows := e.c.WantShape[len(e.c.WantShape)-2]
	for i, wrong := range wrongRows(e.part.c) {
		if row := e.part.row(i); !wrong && unscaled[i] && e.visible[row] >= 2 {
			return fmt.Sprintf("row %d of %s", row%rows, e.structure.label(row/rows))
		}
	}
	return ""
}

// rowsOfTheScores: a row that sees one key has softmax 1 whatever its score, so it shows what
// becomes of the values alone.
func rowsOfTheScores(e *evidence) *finding {
	single, right := 0, 0
	for row, wrong := range wrongRows(e.c) {
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
	return found(Unclear, "the %d rows that see one key are right and all others are wrong: look first at what decides between keys (query, key, scale, mask, softmax, number of heads)", single)
}

// unrelated: as far from the truth in direction as random weights lead on this case, in every
// row that sees a key, and as large as some of them; where no missing mask or scale leads as far.
// Inverted masks and mixed up heads may lead as far, but have been replayed by now.
func unrelated(e *evidence) *finding {
	limit := e.randomCosine()
	if !(math.Abs(e.c.Cosine) <= limit) || e.rightRows() > 0 {
		return nil
	}
	for _, r := range e.replays {
		b := r.band()
		asLarge := e.c.Gain >= b.Gain.Min/beyond && e.c.Gain <= b.Gain.Max*beyond
		if r.mistake.Kind == catalogue.Missing && asLarge && !(b.Cosine.Min > limit) {
			return found(Unclear, "cosine %.3f is as with random weights (up to %.3f), but %s leads as far on this case (%.3f)",
				e.c.Cosine, limit, r.mistake.Title, b.Cosine.Min)
		}
	}
	if limit > telling || e.c.Elements < few {
		return found(Unclear, "rel %.3g, gain %.3g, cosine %.3f: no known mistake gives this output, and the case is too small to tell random weights by direction (up to %.3f)",
			e.c.Rel, e.c.Gain, e.c.Cosine, limit)
	}
	fits, gains := e.gains()
	if !fits {
		return found(Unclear, "cosine %.3f: nothing in common with the expected output, but gain %.3g %s", e.c.Cosine, e.c.Gain, gains)
	}
	f := found(WrongWeights, "cosine %.3f: nothing in common with the expected output, as random weights give on this case (up to %.3f)", e.c.Cosine, limit)
	f.because("rel %.3g, gain %.3g: %s", e.c.Rel, e.c.Gain, gains)
	e.untried(f)
	if e.masked() {
		f.because("masks cannot be judged until the weights load")
	}
	return f
}

// Outputs of a few numbers point the same way by chance: random weights reach a cosine of 0.96 on
// cases of nine numbers, 0.32 to 0.84 on 24, and 0.22 on those of 280 and more. Where their limit is
// above telling, or there are so few numbers that three standard deviations of chance, 3/sqrt(n), are,
// direction says nothing.
const (
	telling = 0.5
	few     = 36
)

// beyond is how far from what a mistake gives on this case a gain may be, and still be called its.
const beyond = 1.5

// randomCosine is how much outputs of random weights have in common with the truth: the most of
// all draws, and more by chance; 0 where there are no weights.
func (e *evidence) randomCosine() float64 {
	limit := 0.0
	for _, r := range e.replays {
		if b := r.band(); r.mistake.Kind == catalogue.Unloaded {
			limit = math.Max(limit, e.part.chance()*math.Max(math.Abs(b.Cosine.Min), math.Abs(b.Cosine.Max)))
		}
	}
	return math.Min(limit, 1)
}

// gains holds the size of the output against that of outputs of random weights: it tells
// parameters that were never loaded from others of the right scale. It fits when some give it.
func (e *evidence) gains() (fits bool, text string) {
	var words []string
	for _, r := range e.replays {
		if r.mistake.Kind != catalogue.Unloaded {
			continue
		}
		b, word := r.band(), "does not fit"
		if e.c.Gain >= b.Gain.Min/beyond && e.c.Gain <= b.Gain.Max*beyond {
			fits, word = true, "fits"
		}
		words = append(words, fmt.Sprintf("%s %s (%.3g to %.3g here)", word, r.mistake.Title, b.Gain.Min, b.Gain.Max))
	}
	return fits, strings.Join(words, ", ")
}

func (e *evidence) masked() bool {
	p := e.problem
	return p.Causal != nil || p.Window > 0 || p.Allow != nil || p.Block != nil || p.Padding != nil || p.Bias != nil
}

func nothingFits(e *evidence) *finding {
	f := found(Unclear, "rel %.3g, gain %.3g, cosine %.3f: no known mistake gives this output on this case", e.c.Rel, e.c.Gain, e.c.Cosine)
	return e.untried(f)
}

// untried says so where two mistakes at once were not looked for.
func (e *evidence) untried(f *finding) *finding {
	if !e.affordable() {
		f.because("two mistakes at once, which can lead as far, were not tried: the case is large")
	}
	return f
}

// notKnown: nothing but numbers is known of the computation.
func notKnown(e *evidence) *finding {
	return found(Unclear, "rel %.3g, gain %.3g, cosine %.3f: the oracle does not know this module, so no mistake was tried on it", e.c.Rel, e.c.Gain, e.c.Cosine)
}
