package pattern

import (
	"fmt"
	"math"
	"strings"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// sums describes rows whose weights do not add to the right sum; nil if there are none. Beside a
// sink, weights add to what the sink leaves, which changes with the scores. There only one thing
// is certain: weights that add to 1 everywhere leave nothing to the sink.
func (x *Pattern) sums(p *oracle.Problem) []string {
	wrong, ones, least, most := 0, true, math.Inf(1), math.Inf(-1)
	rows := x.Heads * x.Queries
	for row := range rows {
		var sum, want, doubt float64
		for at := row * x.Keys; at < (row+1)*x.Keys; at++ {
			sum, want, doubt = sum+x.Recovered[at], want+x.Expected[at], doubt+x.doubt(at)
		}
		ones = ones && (want == 0 || math.Abs(sum-1) <= doubt)
		if math.Abs(sum-want) > doubt {
			wrong++
			least, most = math.Min(least, sum), math.Max(most, sum)
		}
	}
	switch {
	case wrong == 0, p.Sinks != nil && !ones:
		return nil
	case p.Sinks != nil:
		return []string{"the weights of every row add to 1: no sink takes part"}
	}
	const text = "the weights of %d of %d rows do not add to what they should, 1, or 0 where no key is seen: " +
		"they add to %.3f to %.3f"
	return []string{fmt.Sprintf(text, wrong, rows, least, most)}
}

// exchanged describes heads that weigh as other heads should, in all batch elements; nil if there
// are none.
func (x *Pattern) exchanged() []string {
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
		return nil
	}
	return []string{"heads weigh as others should: " + strings.Join(words, ", ")}
}

// weighsAs reports whether the recovered weights of a head are the expected weights of another.
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

// scaled gives the wrong scale, if the logarithms of the weights are a multiple of the right
// scores up to a constant per row; else nil.
func (x *Pattern) scaled(p *oracle.Problem, t oracle.Trace) []string {
	if p.Softcap > 0 {
		return nil
	}
	factor, sigma, fits := x.multiple(t)
	if !fits || math.Abs(factor-1) <= Certainty*sigma {
		return nil
	}
	return []string{fmt.Sprintf("scores are %.4g times the expected ones: the scale is %.4g, not %.4g",
		factor, factor*p.Scale, p.Scale)}
}

// multiple fits the factor between recovered and right scores. It returns the factor, its
// uncertainty, and whether the factor explains all certain scores.
func (x *Pattern) multiple(t oracle.Trace) (factor, sigma float64, fits bool) {
	const few = 16 // scores beyond one per row
	var xx, xy float64
	scores, equations := x.certainScores(t)
	for _, s := range scores {
		xx, xy = xx+s.u*s.u*s.right*s.right, xy+s.u*s.u*s.right*s.recovered
	}
	if equations < few || xx == 0 {
		return 0, 0, false
	}
	factor, fits = xy/xx, true
	for _, s := range scores {
		fits = fits && s.u*math.Abs(s.recovered-factor*s.right) <= 2*Certainty
	}
	return factor, 1 / math.Sqrt(xx), fits
}

// certainScore is a score without the terms added to the product of query and key, minus the mean
// of its row.
type certainScore struct {
	right     float64
	recovered float64 // from the logarithm of the weight
	u         float64 // 1 / the uncertainty of recovered
}

// certainScores lists the scores of all weights that are well above 0. One score per row is no
// equation, because the logarithms of a row share an unknown constant.
func (x *Pattern) certainScores(t oracle.Trace) (scores []certainScore, equations int) {
	for row := range x.Heads * x.Queries {
		var all, meanRight, meanRecovered float64
		var places []int
		for at := row * x.Keys; at < (row+1)*x.Keys; at++ {
			if w, s := x.Recovered[at], x.Uncertainty[at]; t.Sees[at] && w > 4*Certainty*s && s > 0 {
				places = append(places, at)
				u := w / s * w / s
				all += u
				meanRight += u * (t.Scores[at] - t.Terms[at])
				meanRecovered += u * (math.Log(w) - t.Terms[at])
			}
		}
		for _, at := range places {
			scores = append(scores, certainScore{
				right:     t.Scores[at] - t.Terms[at] - meanRight/all,
				recovered: math.Log(x.Recovered[at]) - t.Terms[at] - meanRecovered/all,
				u:         x.Recovered[at] / x.Uncertainty[at],
			})
		}
		equations += max(0, len(places)-1)
	}
	return scores, equations
}
