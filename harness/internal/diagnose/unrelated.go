package diagnose

import (
	"context"
	"math"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/replay"
)

// Outputs of a few numbers point the same way by chance: random weights reach a cosine of 0.96 on
// cases of nine numbers, 0.32 to 0.84 on 24, and 0.22 on 280 and more. Direction proves nothing
// if random outputs of the case reach telling. With fewer than few numbers, three standard
// deviations of chance, 3/sqrt(n), reach telling too.
const (
	telling = 0.5
	few     = 36
)

// function is the dependence of elements on expected elements above which an output is no other
// weights'. Normal values with a cosine of common have about 0.6.
const function = 0.9

// sameSize bounds the gains, and their inverses, that other mistakes often have. An output of such
// a size is right but for a mask or the like unless its cosine is below common, mean row included.
const (
	sameSize = 2.0
	common   = 0.9
)

// beyond is how many times outside the range that a mistake gives on this case a gain may be, and
// still count as the mistake's.
const beyond = 1.5

// unrelated decides if the output is as far from the truth in direction as random weights lead on
// this case, in every row that sees a key, and as large as some random weights make it. A missing
// mask or scale must not lead as far. Inverted masks and mixed up heads may, but the replays would
// have found them. No attention weights may give the output from the right values: then values and
// output projection would be right.
func unrelated(ctx context.Context, in *input, _ fit.Result) answer {
	if in.comparison.NonFinite > 0 || in.problem.Layer == nil || in.recovery.Pattern != nil || rightRows(in) > 0 {
		return answer{}
	}
	var early bool
	sampled := *in
	if sampled.replays, early = in.replays.OnSample(); !sampled.fromTruth().within(direction{common, telling}) {
		return answer{}
	}
	all, ok := randomWeights(ctx, in)
	if early && ok {
		// Early rows cost little, and see few keys. Outputs far outside their limits are ruled out.
		const far = 2
		if !in.fromTruth().within(limitOf(all).times(far)) {
			return answer{}
		}
		in = &sampled
		all, ok = randomWeights(ctx, in)
	}
	if !ok {
		return answer{cut: "layers with random weights, to compare the output with"}
	}
	return answer{finding: in.unrelatedTo(in.fromTruth(), all)}
}

// fromTruth compares the output with the truth, in the rows on which random weights are drawn.
func (in *input) fromTruth() direction {
	drawn := in.replays.Drawn()
	return newDirection(in, drawn.Got, drawn.Truth.Value)
}

// limitOf returns limits that admit every kind of random weights.
func limitOf(all []randomKind) (limit direction) {
	for _, k := range all {
		limit = limit.orMore(k.limit)
	}
	return limit
}

// unrelatedTo decides by the outputs that random weights give on the sample.
func (in *input) unrelatedTo(got direction, all []randomKind) *finding {
	limit := limitOf(all)
	if !got.within(limit) {
		return nil
	}
	c, gain := in.comparison, in.replays.Sampled.Comparison.Gain
	if d := in.towardsQuery(); !d.within(limit) {
		const text = "cosine %.3f with the query, and %.3f with the expected output: the query reaches the output"
		return findingf(Unclear, text, d.whole, c.Cosine)
	}
	if m, d := in.missingAsFar(limit); m != "" {
		const text = "cosine %.3f is as with random weights (up to %.3f), but %s leads as far on this case (%.3f)"
		return findingf(Unclear, text, c.Cosine, limit.whole, m, d.whole)
	}
	if limit.centred > telling || c.Elements < few || limit.whole > common && ordinary(gain) {
		const text = "rel %.3g, gain %.3g, cosine %.3f: no known mistake gives this output, " +
			"and the case is too small to tell random weights by direction (up to %.3f)"
		return findingf(Unclear, text, c.Rel, c.Gain, c.Cosine, math.Max(limit.whole, limit.centred))
	}
	if xi := dependence(in.replays.Sampled.Got, in.replays.Sampled.Truth.Value); xi > function {
		const text = "cosine %.3f, but each element follows from the expected element by a function that is " +
			"not known (Chatterjee's xi %.2f, 0 by chance)"
		return findingf(Unclear, text, c.Cosine, xi)
	}
	fits, gains := gainsOf(all, gain)
	if !fits {
		const text = "cosine %.3f: nothing in common with the expected output, but gain %.3g %s"
		return findingf(Unclear, text, c.Cosine, c.Gain, gains)
	}
	if alike, least := in.alike(all, gain); alike < least {
		const text = "cosine %.3f: nothing in common with the expected output, not even which rows are alike " +
			"(correlation %.2f, at least %.2f with random weights): other weights alone do not give it"
		return findingf(Unclear, text, c.Cosine, alike, least)
	}
	const text = "cosine %.3f: nothing in common with the expected output, " +
		"as random weights give on this case (up to %.3f)"
	f := findingf(WrongWeights, text, c.Cosine, limit.whole)
	if limit.whole > telling {
		const text = "without the mean row, which outputs share by chance, the cosine is %.3f (up to %.3f)"
		f.because(text, got.centred, limit.centred)
	}
	f.because("rel %.3g, gain %.3g: %s", c.Rel, c.Gain, gains)
	pairsUntried(in, f)
	if masked(in) {
		f.because("masks cannot be judged until the weights load")
	}
	return f
}

// towardsQuery compares the output's direction with the query's; zero if they differ in size.
func (in *input) towardsQuery() direction {
	query, width := in.problem.Query.Value, num.Last(in.comparison.WantShape)
	if len(query) != len(in.got) {
		return direction{}
	}
	var rows []float64
	for i := range len(in.replays.Sampled.Got) / width {
		rows = append(rows, query[in.replays.Sampled.Row(i)*width:][:width]...)
	}
	return newDirection(in, in.replays.Sampled.Got, rows)
}

// missingAsFar names a missing part of the computation that leads as far from the truth as limits,
// makes the output as large, and has something in common with it; "" if there is none.
func (in *input) missingAsFar(limit direction) (title string, d direction) {
	for _, r := range in.replays.Visible {
		if r.Mistake.Kind != catalogue.Missing || !gainFits(in.replays.Sampled.Comparison.Gain, r.Band()) {
			continue
		}
		values := in.replays.SampledValues(r)
		d := newDirection(in, values, in.replays.Sampled.Truth.Value)
		if d.within(limit) && !newDirection(in, values, in.replays.Sampled.Got).within(limit) {
			return r.Mistake.Title, d
		}
	}
	return "", direction{}
}

// alike returns how well rows of the output are alike where expected rows are, and the least that
// random weights of the output's size are likely to give: -1 if they tell nothing by it.
func (in *input) alike(kinds []randomKind, gain float64) (alike, least float64) {
	const (
		likely = 0.5 // times the least of the draws: 0.9 and more in 48 trials
		tells  = 0.1 // a correlation that chance does not give
	)
	least = 1
	for _, k := range kinds {
		switch {
		case !k.fits(gain):
		case k.alike < tells:
			least = -1
		default:
			least = math.Min(least, likely*k.alike)
		}
	}
	return geometry(in, in.replays.Sampled.Got, in.replays.Sampled.Truth.Value), least
}

// gainsOf compares the size of the output with outputs of random weights, which tells parameters
// that were never loaded from others of the right scale. It fits if one kind gives the size.
func gainsOf(kinds []randomKind, gain float64) (fits bool, text string) {
	var words []string
	for _, k := range kinds {
		switch {
		case k.fits(gain):
			fits = true
			words = append(words, "fits "+k.String())
		case k.listed:
			words = append(words, "does not fit "+k.String())
		}
	}
	return fits, strings.Join(words, ", ")
}

// rightRows counts the rows within the noise that see a key.
func rightRows(in *input) int {
	n := 0
	for row, wrong := range in.comparison.WrongRows() {
		if !wrong && in.visible[row] > 0 {
			n++
		}
	}
	return n
}

// gainFits reports whether a gain is as large as a mistake makes it.
func gainFits(gain float64, b replay.Band) bool {
	return gain >= b.Gain.Min/beyond && gain <= b.Gain.Max*beyond
}

// masked reports whether the case has a mask or a bias of the scores.
func masked(in *input) bool {
	p := in.problem
	return p.Causal != nil || p.Window > 0 || p.Allow != nil || p.Block != nil || p.Padding != nil || p.Bias != nil
}

func nothingFits(in *input) *finding {
	const text = "rel %.3g, gain %.3g, cosine %.3f: no known mistake gives this output on this case"
	c := in.comparison
	return pairsUntried(in, findingf(Unclear, text, c.Rel, c.Gain, c.Cosine))
}

// pairsUntried adds to a finding that two mistakes at once were not tried, if they were not.
func pairsUntried(in *input, f *finding) *finding {
	if !in.replays.PairsAffordable() {
		f.because("two mistakes at once, which can lead as far, were not tried: the case is large")
	}
	return f
}

// unknownModule decides for a computation that the oracle does not know.
func unknownModule(in *input) *finding {
	c := in.comparison
	if in.module != nil {
		const text = "rel %.3g, gain %.3g, cosine %.3f: no known mistake in the graph gives this output"
		return findingf(Unclear, text, c.Rel, c.Gain, c.Cosine)
	}
	const text = "rel %.3g, gain %.3g, cosine %.3f: " +
		"the case has no graph of this module, so no mistake was tried on it"
	return findingf(Unclear, text, c.Rel, c.Gain, c.Cosine)
}
