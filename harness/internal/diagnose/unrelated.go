package diagnose

import (
	"fmt"
	"math"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
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

// beyond is how many times outside the range that a mistake gives on this case a gain may be, and
// still count as the mistake's.
const beyond = 1.5

// unrelated decides if the output is as far from the truth in direction as random weights lead on
// this case, in every row that sees a key, and as large as some random weights make it. A missing
// mask or scale must not lead as far. Inverted masks and mixed up heads may, but the replays
// would have found them.
func unrelated(in *input) *finding {
	c, limit := in.comparison, randomCosine(in)
	if !(math.Abs(c.Cosine) <= limit) || rightRows(in) > 0 {
		return nil
	}
	for _, r := range in.replays.Visible {
		b := r.Band()
		if r.Mistake.Kind == catalogue.Missing && gainFits(in, b) && !(b.Cosine.Min > limit) {
			const text = "cosine %.3f is as with random weights (up to %.3f), " +
				"but %s leads as far on this case (%.3f)"
			return findingf(Unclear, text, c.Cosine, limit, r.Mistake.Title, b.Cosine.Min)
		}
	}
	if limit > telling || c.Elements < few {
		const text = "rel %.3g, gain %.3g, cosine %.3f: no known mistake gives this output, " +
			"and the case is too small to tell random weights by direction (up to %.3f)"
		return findingf(Unclear, text, c.Rel, c.Gain, c.Cosine, limit)
	}
	fits, gains := randomGains(in)
	if !fits {
		const text = "cosine %.3f: nothing in common with the expected output, but gain %.3g %s"
		return findingf(Unclear, text, c.Cosine, c.Gain, gains)
	}
	const text = "cosine %.3f: nothing in common with the expected output, " +
		"as random weights give on this case (up to %.3f)"
	f := findingf(WrongWeights, text, c.Cosine, limit)
	f.because("rel %.3g, gain %.3g: %s", c.Rel, c.Gain, gains)
	pairsUntried(in, f)
	if masked(in) {
		f.because("masks cannot be judged until the weights load")
	}
	return f
}

// randomCosine returns the greatest cosine with the truth that outputs of random weights are
// likely to have; 0 if the case has no weights.
func randomCosine(in *input) float64 {
	limit := 0.0
	for _, r := range in.replays.Visible {
		if b := r.Band(); r.Mistake.Kind == catalogue.Unloaded {
			furthest := math.Max(math.Abs(b.Cosine.Min), math.Abs(b.Cosine.Max))
			limit = math.Max(limit, in.replays.Sampled.Chance()*furthest)
		}
	}
	return math.Min(limit, 1)
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

// gainFits reports whether the output is as large as a mistake makes it.
func gainFits(in *input, b replay.Band) bool {
	gain := in.comparison.Gain
	return gain >= b.Gain.Min/beyond && gain <= b.Gain.Max*beyond
}

// randomGains compares the size of the output with outputs of random weights, which tells
// parameters that were never loaded from others of the right scale. It fits if one kind of random
// weights gives the size.
func randomGains(in *input) (fits bool, text string) {
	var words []string
	for _, r := range in.replays.Visible {
		if r.Mistake.Kind != catalogue.Unloaded {
			continue
		}
		b, word := r.Band(), "does not fit"
		if gainFits(in, b) {
			fits, word = true, "fits"
		}
		words = append(words, fmt.Sprintf("%s %s (%.3g to %.3g here)", word, r.Mistake.Title, b.Gain.Min, b.Gain.Max))
	}
	return fits, strings.Join(words, ", ")
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
