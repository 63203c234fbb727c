package diagnose

import (
	"fmt"
	"math"
	"slices"
	"strings"

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
	ValueStage   Stage = "values"  // values or output: no weights of the right values give the output
)

// Pattern holds the attention weights that an output was made with, found by turning output projection and
// values around, which are right.
type Pattern struct {
	Heads, PerBatch, Queries, Keys int // N heads over the whole batch

	Recovered, Expected []float64 // (N, L, S)
	Uncertainty         []float64 // standard deviation of the recovered ones

	Findings []string // what of the recovered weights is beyond doubt
	Shown    int      // the head that differs most
}

// pattern recovers the weights of all heads, and says what is to be seen in them. It is nil where they
// cannot be recovered, and the reason says why; the stage may be known all the same.
func pattern(p *oracle.Problem, t oracle.Trace, got []float64) (found *Pattern, stage Stage, reason string) {
	r, reason := recoverWeights(p, t, got, upTo(headsPerBatch(p, t)))
	if reason != "" {
		return nil, "", reason
	}
	if r.unlike() {
		return nil, ValueStage, "no weights of the right values give the output: values or output projection differ"
	}
	x := &Pattern{
		Heads: t.Heads, PerBatch: headsPerBatch(p, t), Queries: t.Queries, Keys: t.Keys,
		Recovered: r.weights, Expected: t.Weights, Uncertainty: r.sigma,
	}
	if why := x.doubtful(r.judged); why != "" {
		return nil, "", why
	}
	x.Shown = x.mostDifferent()
	return x, x.read(p, t), ""
}

// doubtful says why recovered weights are none, or of no use.
func (x *Pattern) doubtful(judged bool) string {
	const useful = 1e-3 // of the uncertainty of most weights
	if middle := slices.Sorted(slices.Values(x.Uncertainty))[len(x.Uncertainty)/2]; !(middle <= useful) {
		return fmt.Sprintf("the recovered weights are uncertain by %.1g", middle)
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

// doubt is how far a weight must be from a value to be another.
func (x *Pattern) doubt(at int) float64 { return certainty*x.Uncertainty[at] + 1e-7 }

func (x *Pattern) mostDifferent() int {
	off, size := make([]float64, x.Heads), x.Queries*x.Keys
	for at, w := range x.Recovered {
		off[at/size] += (w - x.Expected[at]) * (w - x.Expected[at])
	}
	return slices.Index(off, slices.Max(off))
}

// read lists what is certain, and says the stage that it points to.
func (x *Pattern) read(p *oracle.Problem, t oracle.Trace) Stage {
	mask := x.mask(p, t)
	sums := x.sums(p)
	switch {
	case mask:
		return MaskStage
	case x.exchanged():
		return HeadsStage
	case sums:
		return SoftmaxStage
	case x.scaled(p, t):
		return ScaleStage
	}
	return ScoreStage
}

func (x *Pattern) say(format string, args ...any) {
	x.Findings = append(x.Findings, fmt.Sprintf(format, args...))
}

// mask compares which keys are seen. A weight counts as seen where it is not 0 without doubt. One that cannot be told
// from 0 may be a low score: it counts as lost where that is so in every head that should have shown it.
func (x *Pattern) mask(p *oracle.Problem, t oracle.Trace) bool {
	var seen []int
	lost := x.lost(t)
	rows := map[int]bool{}
	for at, w := range x.Recovered {
		if !t.Sees[at] && w > x.doubt(at) {
			seen = append(seen, at)
			rows[at/x.Keys] = true
		}
	}
	for _, at := range lost {
		rows[at/x.Keys] = true
	}
	x.describe(p, seen, "are seen that should be hidden")
	x.describe(p, lost, "are not seen that should be")
	if len(rows) == 0 {
		return false
	}
	const examples = 2
	shown := 0
	for row := x.Shown * x.Queries; row < (x.Shown+1)*x.Queries && shown < examples; row++ {
		if rows[row] {
			x.say("%s: query %d gives weight to keys %s, and should to %s", x.label(row/x.Queries), row%x.Queries, x.keys(row, func(at int) bool { return x.Recovered[at] > x.doubt(at) }),
				x.keys(row, func(at int) bool { return t.Sees[at] }))
			shown++
		}
	}
	return true
}

// lost are weights of 0, within a doubt that is small against what they should be, in all heads of a batch element that
// could show it: in two heads at least, and for three keys.
func (x *Pattern) lost(t oracle.Trace) []int {
	const heads, keys = 2, 3
	var all []int
	places, size := 0, x.Queries*x.Keys
	for b := range x.Heads / x.PerBatch {
		for i := range size {
			var zero []int
			for h := range x.PerBatch {
				at := (b*x.PerBatch+h)*size + i
				switch {
				case !t.Sees[at] || x.Expected[at] <= 4*x.doubt(at):
				case math.Abs(x.Recovered[at]) <= x.doubt(at):
					zero = append(zero, at)
				default:
					zero = append(zero, -1)
				}
			}
			if len(zero) >= heads && !slices.Contains(zero, -1) {
				all = append(all, zero...)
				places++
			}
		}
	}
	if places < keys {
		return nil
	}
	slices.Sort(all)
	return all
}

// describe says of some weights what their keys have in common.
func (x *Pattern) describe(p *oracle.Problem, list []int, what string) {
	if len(list) == 0 {
		return
	}
	var after, before, padded, other int
	nearest, furthest := math.MaxInt, 0 // distances
	for _, at := range list {
		i, j := at/x.Keys%x.Queries, at%x.Keys
		distance := j - i - p.Offset
		switch {
		case p.Padding != nil && j < len(p.Padding.Data)/p.Padding.Shape[0] && p.Padding.Data[at/(x.Queries*x.Keys)/x.PerBatch*p.Padding.Shape[1]+j]:
			padded++
			continue
		case distance > 0:
			after++
		case distance < 0:
			before++
		default:
			other++
		}
		nearest, furthest = min(nearest, max(distance, -distance)), max(furthest, max(distance, -distance))
	}
	var words []string
	for _, kind := range []struct {
		n    int
		name string
	}{{after, "keys after the query"}, {before, "keys before the query"}, {other, "the key of the query itself"}, {padded, "padded keys"}} {
		if kind.n > 0 {
			words = append(words, kind.name)
		}
	}
	text := strings.Join(words, " and ") + " " + what
	if after+before > 0 && (after == 0 || before == 0) && padded == 0 && other == 0 {
		text += fmt.Sprintf(", at distances %s", Ranges([]int{nearest, furthest}[:1+min(1, furthest-nearest)]))
		if furthest-nearest > 1 {
			text = strings.TrimSuffix(text, fmt.Sprintf("%d, %d", nearest, furthest)) + fmt.Sprintf("%d to %d", nearest, furthest)
		}
	}
	x.say("%s (%d weights)", text, len(list))
}

// keys lists those of a row for which something holds.
func (x *Pattern) keys(row int, holds func(at int) bool) string {
	var list []int
	for j := range x.Keys {
		if holds(row*x.Keys + j) {
			list = append(list, j)
		}
	}
	if len(list) == 0 {
		return "none"
	}
	return Ranges(list)
}

// label names a head.
func (x *Pattern) label(n int) string {
	return fmt.Sprintf("batch %d head %d", n/x.PerBatch, n%x.PerBatch)
}

// sums says whether the weights of some row do not add to what they should. Beside a sink they add to what it leaves, which
// other scores change, unless they add to one everywhere, as without it.
func (x *Pattern) sums(p *oracle.Problem) bool {
	wrong, whole, least, most := 0, true, math.Inf(1), math.Inf(-1)
	rows := x.Heads * x.Queries
	for row := range rows {
		var sum, want, doubt float64
		for at := row * x.Keys; at < (row+1)*x.Keys; at++ {
			sum, want, doubt = sum+x.Recovered[at], want+x.Expected[at], doubt+x.doubt(at)
		}
		whole = whole && (want == 0 || math.Abs(sum-1) <= doubt)
		if math.Abs(sum-want) > doubt {
			wrong++
			least, most = math.Min(least, sum), math.Max(most, sum)
		}
	}
	switch {
	case wrong == 0, p.Sinks != nil && !whole:
		return false
	case p.Sinks != nil:
		x.say("the weights of every row add to 1: no sink takes part")
	default:
		x.say("the weights of %d of %d rows do not add to what they should, 1, or 0 where no key is seen: they add to %.3f to %.3f", wrong, rows, least, most)
	}
	return true
}

// exchanged says whether heads weigh as others should, in all batch elements.
func (x *Pattern) exchanged() bool {
	var words []string
	for h := range x.PerBatch {
		if x.weighsAs(h, h) {
			continue
		}
		for other := range x.PerBatch {
			if other != h && x.weighsAs(h, other) {
				words = append(words, fmt.Sprintf("head %d as head %d", h, other))
				break
			}
		}
	}
	if len(words) == 0 {
		return false
	}
	x.say("heads weigh as others should: %s", strings.Join(words, ", "))
	return true
}

// weighsAs says whether the recovered weights of a head are those that are expected of another.
func (x *Pattern) weighsAs(head, other int) bool {
	size := x.Queries * x.Keys
	for b := range x.Heads / x.PerBatch {
		for i := range size {
			at := (b*x.PerBatch+head)*size + i
			if !(math.Abs(x.Recovered[at]-x.Expected[(b*x.PerBatch+other)*size+i]) <= x.doubt(at)) {
				return false
			}
		}
	}
	return true
}

// scaled says whether the logarithms of the weights are a multiple of the right scores, but for what all keys of a row
// share.
func (x *Pattern) scaled(p *oracle.Problem, t oracle.Trace) bool {
	if p.Softcap > 0 {
		return false
	}
	factor, sigma, fits := x.multiple(t)
	if !fits || math.Abs(factor-1) <= certainty*sigma {
		return false
	}
	x.say("scores are %.4g times the expected ones: the scale is %.4g, not %.4g", factor, factor*p.Scale, p.Scale)
	return true
}

// multiple fits the factor, its uncertainty, and whether it explains all that is certain.
func (x *Pattern) multiple(t oracle.Trace) (factor, sigma float64, fits bool) {
	const few = 16 // scores, beyond one a row
	var xx, xy float64
	counted := 0
	logs := func(each func(u, score, weight float64)) {
		for row := range x.Heads * x.Queries {
			var all, meanScore, meanLog float64
			var places []int
			for at := row * x.Keys; at < (row+1)*x.Keys; at++ {
				if w, s := x.Recovered[at], x.Uncertainty[at]; t.Sees[at] && w > 4*certainty*s && s > 0 {
					places = append(places, at)
					u := w / s * w / s
					all += u
					meanScore += u * (t.Scores[at] - t.Terms[at])
					meanLog += u * (math.Log(w) - t.Terms[at])
				}
			}
			for _, at := range places {
				each(x.Recovered[at]/x.Uncertainty[at], t.Scores[at]-t.Terms[at]-meanScore/all, math.Log(x.Recovered[at])-t.Terms[at]-meanLog/all)
			}
			counted += max(0, len(places)-1)
		}
	}
	logs(func(u, score, weight float64) { xx, xy = xx+u*u*score*score, xy+u*u*score*weight })
	if counted < few || xx == 0 {
		return 0, 0, false
	}
	factor, fits = xy/xx, true
	logs(func(u, score, weight float64) { fits = fits && u*math.Abs(weight-factor*score) <= 2*certainty })
	return factor, 1 / math.Sqrt(xx), fits
}

// Picture draws the head that differs most, a line a query: recovered weights, then the expected ones. At most 16 queries
// and keys are shown.
func (x *Pattern) Picture() []string {
	const most = 16
	keys, queries := min(x.Keys, most), min(x.Queries, most)
	width := max(keys+2, len("recovered"))
	lines := []string{fmt.Sprintf("%-*s  %s", width, "recovered", "expected"+"   "+x.label(x.Shown))}
	for i := range queries {
		row := (x.Shown*x.Queries + i) * x.Keys
		lines = append(lines, fmt.Sprintf("%-*s  |%s|", width, "|"+x.shades(row, keys, x.Recovered)+"|", x.shades(row, keys, x.Expected)))
	}
	legend := "a column a key, a line a query: blank 0, then . : - = + * # % @, a ninth each"
	if keys < x.Keys || queries < x.Queries {
		legend += fmt.Sprintf("; %d of %d queries, %d of %d keys", queries, x.Queries, keys, x.Keys)
	}
	return append(lines, legend)
}

// shades draws weights, a character each: blank is 0 within doubt, and ! is no weight at all.
func (x *Pattern) shades(row, keys int, weights []float64) string {
	const ramp = ".:-=+*#%@"
	var line strings.Builder
	for at := row; at < row+keys; at++ {
		switch w := weights[at]; {
		case w < -x.doubt(at) || w > 1+x.doubt(at):
			line.WriteByte('!')
		case w <= x.doubt(at):
			line.WriteByte(' ')
		default:
			line.WriteByte(ramp[min(len(ramp)-1, int(w*float64(len(ramp))))])
		}
	}
	return line.String()
}
