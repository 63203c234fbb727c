package pattern

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Stage is the step of a computation that an output shows to be wrong.
type Stage string

// The stages that recovered weights tell apart.
const (
	MaskStage    Stage = "mask"    // keys are seen that should be hidden, or the reverse
	SoftmaxStage Stage = "softmax" // weights do not add to what they should
	ScaleStage   Stage = "scale"   // scores are a multiple of the right ones
	HeadsStage   Stage = "heads"   // heads weigh as others should
	ScoreStage   Stage = "scores"  // the right keys are seen, with other scores
	ValueStage   Stage = "values"  // no weights of the right values give the output
)

// Recovery is the result of [Recover].
type Recovery struct {
	Pattern *Pattern // nil if the weights cannot be recovered
	Stage   Stage    // the wrong step; "" if unknown. It may be known without a pattern.
	Reason  string   // why there is no pattern
}

// Pattern holds the attention weights that an output was made with.
type Pattern struct {
	Heads, PerBatch, Queries, Keys int // N heads over the whole batch

	Recovered, Expected []float64 // (N, L, S)
	Uncertainty         []float64 // standard deviation of the recovered weights

	Findings []string // what the recovered weights show beyond doubt
	Shown    int      // the head that differs most
}

// Recover recovers the weights of all heads from a wrong output of problem p, which is right and
// has trace t, and reads the wrong step from them.
func Recover(p *oracle.Problem, t oracle.Trace, got []float64) Recovery {
	w, reason := RecoverWeights(p, t, got, num.UpTo(headsPerBatch(p, t)))
	if reason != "" {
		return Recovery{Reason: reason}
	}
	if w.FarFromMixtures() {
		const text = "no attention weights on the right values give the output: they are not all that is wrong"
		return Recovery{Stage: ValueStage, Reason: text}
	}
	x := &Pattern{
		Heads: t.Heads, PerBatch: headsPerBatch(p, t), Queries: t.Queries, Keys: t.Keys,
		Recovered: w.Value, Expected: t.Weights, Uncertainty: w.Sigma,
	}
	if reason := x.doubtful(w.judged); reason != "" {
		return Recovery{Reason: reason}
	}
	x.Shown = x.mostDifferent()
	stage, findings := x.read(p, t)
	x.Findings = findings
	return Recovery{Pattern: x, Stage: stage}
}

// doubtful says why the recovered numbers are no weights, or too uncertain. It returns "" if they
// are good. A mixture that the values could have contradicted needs no second check.
func (x *Pattern) doubtful(judged bool) string {
	const useful = 1e-3 // greatest uncertainty of most weights
	median := slices.Sorted(slices.Values(x.Uncertainty))[len(x.Uncertainty)/2]
	if !(median <= useful) {
		return fmt.Sprintf("the recovered weights are uncertain by %.1g", median)
	}
	if judged {
		return ""
	}
	for at, w := range x.Recovered {
		if w < -x.doubt(at) || w > 1+x.doubt(at) {
			return "what would be weights is below zero or above one: values or output may differ"
		}
	}
	return ""
}

// doubt returns how far a recovered weight must be from a value to differ from it.
func (x *Pattern) doubt(at int) float64 { return Certainty*x.Uncertainty[at] + 1e-7 }

func (x *Pattern) mostDifferent() int {
	off, size := make([]float64, x.Heads), x.Queries*x.Keys
	for at, w := range x.Recovered {
		off[at/size] += (w - x.Expected[at]) * (w - x.Expected[at])
	}
	return slices.Index(off, slices.Max(off))
}

// read returns the stage that the weights point to, and a line for each fact beyond doubt.
func (x *Pattern) read(p *oracle.Problem, t oracle.Trace) (Stage, []string) {
	mask, sums := x.mask(p, t), x.sums(p)
	if len(mask) > 0 {
		return MaskStage, append(mask, sums...)
	}
	if exchanged := x.exchanged(); len(exchanged) > 0 {
		return HeadsStage, append(sums, exchanged...)
	}
	if len(sums) > 0 {
		return SoftmaxStage, sums
	}
	if scaled := x.scaled(p, t); len(scaled) > 0 {
		return ScaleStage, scaled
	}
	return ScoreStage, nil
}

// Lines explains what the recovered weights show, or why nobody can recover them although the
// stage is known. It returns nil if nothing is known.
func (r Recovery) Lines() []string {
	switch {
	case r.Pattern == nil && r.Stage == "":
		return nil
	case r.Pattern == nil:
		return []string{r.Reason}
	case len(r.Pattern.Findings) == 0:
		return []string{"attention weights recovered from the output give every key that is hidden none " +
			"and add to what they should: the scores differ"}
	}
	var lines []string
	for _, finding := range r.Pattern.Findings {
		lines = append(lines, "recovered attention weights: "+finding)
	}
	return lines
}

// mostDrawn is how many queries and keys a picture shows at most.
const mostDrawn = 16

// Picture draws the head that differs most, a line per query: the recovered weights, then the
// expected ones. It shows at most 16 queries and keys.
func (x *Pattern) Picture() []string {
	recovered, expected := x.Drawn()
	width := max(len(recovered[0])+2, len("recovered"))
	lines := []string{fmt.Sprintf("%-*s  expected   %s", width, "recovered", x.label(x.Shown))}
	for i := range recovered {
		lines = append(lines, fmt.Sprintf("%-*s  |%s|", width, "|"+shades(recovered[i])+"|", shades(expected[i])))
	}
	return append(lines, "a column a key, a line a query: blank 0, then . : - = + * # % @, a ninth each"+x.Left())
}

// Label names the head that differs most.
func (x *Pattern) Label() string { return x.label(x.Shown) }

// Left tells how many queries and keys a picture shows; "" if it shows all.
func (x *Pattern) Left() string {
	keys, queries := min(x.Keys, mostDrawn), min(x.Queries, mostDrawn)
	if keys == x.Keys && queries == x.Queries {
		return ""
	}
	return fmt.Sprintf("; %d of %d queries, %d of %d keys", queries, x.Queries, keys, x.Keys)
}

// Drawn returns the weights that a picture shows, by query and key. A weight that is 0 within doubt
// is 0. A weight that is below 0 or above 1 beyond doubt is NaN.
func (x *Pattern) Drawn() (recovered, expected [][]float64) {
	for i := range min(x.Queries, mostDrawn) {
		row := (x.Shown*x.Queries + i) * x.Keys
		recovered = append(recovered, x.certain(row, x.Recovered))
		expected = append(expected, x.certain(row, x.Expected))
	}
	return recovered, expected
}

// certain returns the weights of a row, as far as a picture shows them.
func (x *Pattern) certain(row int, weights []float64) []float64 {
	var drawn []float64
	for at := row; at < row+min(x.Keys, mostDrawn); at++ {
		switch w := weights[at]; {
		case w < -x.doubt(at) || w > 1+x.doubt(at):
			drawn = append(drawn, math.NaN())
		case w <= x.doubt(at):
			drawn = append(drawn, 0)
		default:
			drawn = append(drawn, w)
		}
	}
	return drawn
}

// shades draws weights, a character each: blank is 0, and ! is below 0 or above 1.
func shades(weights []float64) string {
	const ramp = ".:-=+*#%@"
	var line strings.Builder
	for _, w := range weights {
		switch {
		case math.IsNaN(w):
			line.WriteByte('!')
		case w == 0:
			line.WriteByte(' ')
		default:
			line.WriteByte(ramp[min(len(ramp)-1, int(w*float64(len(ramp))))])
		}
	}
	return line.String()
}

// label names a head.
func (x *Pattern) label(n int) string {
	return fmt.Sprintf("batch %d head %d", n/x.PerBatch, n%x.PerBatch)
}
