package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// alibi holds mistakes with the slopes and distances of ALiBi.
var alibi = []Mistake{
	{
		ID:          "alibi-missing",
		Title:       "ALiBi missing",
		Explanation: "Scores do not decrease with distance.",
		Fix:         "Subtract each head's slope times the distance from the scaled scores.",
		Family:      ALiBi,
		Kind:        Missing,
		Stage:       Score,
		Needs:       "ALiBi",
		Refs:        []string{"F01"},
		Evidence:    "https://github.com/keras-team/keras-hub/pull/2862",
		Plant:       withSlopes(noSlopes),
	},
	{
		ID:          "alibi-inverted",
		Title:       "ALiBi added instead of subtracted",
		Explanation: "The sign is wrong: a query prefers distant keys.",
		Fix:         "Add -slope * |i - j|.",
		Family:      ALiBi,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "ALiBi",
		Refs:        []string{"F02"},
		Evidence:    "https://github.com/meta-pytorch/attention-gym/pull/86",
		Plant:       withSlopes(func(was []float64) []float64 { return multiplied(was, -1) }),
	},
	{
		ID:          "alibi-slopes-not-power-of-two",
		Title:       "ALiBi slopes from a single series, although the number of heads is not a power of two",
		Explanation: "The slopes are 2^(-8(h+1)/H) for any number of heads.",
		Fix:         "Use the slopes for the power of two below H, then every second slope for the power of two above.",
		Family:      ALiBi,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "ALiBi with a number of heads that is not a power of two",
		Refs:        []string{"F03"},
		Evidence:    "https://github.com/ml-explore/mlx/pull/3071",
		Plant:       withSlopes(slopesOfOneSeries),
	},
	{
		ID:          "alibi-slopes-off-by-one",
		Title:       "ALiBi slopes whose exponent starts at 0",
		Explanation: "The slopes are 2^(-8h/n) instead of 2^(-8(h+1)/n), n a power of two. The first slope is 1.",
		Fix:         "Count heads from 1 in the exponent.",
		Family:      ALiBi,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "ALiBi",
		Refs:        []string{"F04"},
		Evidence:    "https://github.com/paiml/aprender/pull/2143",
		Plant:       withSlopes(slopesOffByOne),
	},
	{
		ID:          "alibi-past-ignored",
		Title:       "ALiBi distances that ignore the query offset",
		Explanation: "Query i is treated as if it stood at key i, although earlier keys come before it.",
		Fix:         "Measure distances between positions: query i is at position i + offset.",
		Family:      ALiBi,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "ALiBi, and queries that start after the first key",
		Refs:        []string{"F05"},
		Evidence:    "https://github.com/keras-team/keras-hub/pull/2862",
		Plant:       alibiPastIgnored,
	},
	{
		ID:    "alibi-missing-at-decode",
		Title: "ALiBi missing for a single query",
		Explanation: "The table of distances covers as many keys as there are queries. " +
			"For one query it holds a single 0.",
		Fix:      "Build the table for all keys, and use the rows of the new queries.",
		Family:   ALiBi,
		Kind:     Missing,
		Stage:    Score,
		Needs:    "ALiBi, and a single query",
		Refs:     []string{"F06"},
		Evidence: "https://github.com/keras-team/keras-hub/pull/2977",
		Plant:    alibiMissingAtDecode,
	},
	{
		ID:          "alibi-slopes-reversed",
		Title:       "the ALiBi slopes assigned to the heads in reverse order",
		Explanation: "The first head has the last head's slope.",
		Fix:         "Give the first head the steepest slope.",
		Family:      ALiBi,
		Kind:        Layout,
		Stage:       Score,
		Needs:       "ALiBi with two or more heads",
		Refs:        []string{"F08"},
		Plant:       withSlopes(slopesReversed),
	},
}

// withSlopes replaces the ALiBi slopes, one per head. It applies only if the slopes change.
func withSlopes(change func([]float64) []float64) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		wrong := change(p.Slopes)
		if len(p.Slopes) != headCount(p) || slices.Equal(wrong, p.Slopes) {
			return false
		}
		p.Slopes = wrong
		return true
	}
}

func noSlopes([]float64) []float64 { return nil }

// slopesOfOneSeries changes nothing if the number of heads is a power of two: a single series is
// right.
func slopesOfOneSeries(right []float64) []float64 {
	wrong := slices.Clone(right)
	if heads := len(right); heads > 0 && largestPowerOfTwo(heads) < heads {
		for h := range wrong {
			wrong[h] = math.Exp2(-8 * float64(h+1) / float64(heads))
		}
	}
	return wrong
}

// slopesOffByOne moves each slope one step up its series. The first n heads, n a power of two,
// share a series with steps of 2^(8/n); the other heads share one with steps of 2^(8/2n).
func slopesOffByOne(right []float64) []float64 {
	wrong, n := slices.Clone(right), largestPowerOfTwo(len(right))
	for h := range wrong {
		series := n
		if h >= n {
			series = 2 * n
		}
		wrong[h] *= math.Exp2(8 / float64(series))
	}
	return wrong
}

// largestPowerOfTwo returns the largest power of two that is not above n.
func largestPowerOfTwo(n int) int {
	power := 1
	for 2*power <= n {
		power *= 2
	}
	return power
}

func slopesReversed(right []float64) []float64 {
	wrong := slices.Clone(right)
	slices.Reverse(wrong)
	return wrong
}

func alibiMissingAtDecode(p *oracle.Problem, r *rand.Rand) bool {
	return queryCount(p) == 1 && withSlopes(noSlopes)(p, r)
}

func alibiPastIgnored(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Slopes == nil || p.Offset == 0 {
		return false
	}
	p.SlopeDistance = withoutOffset(p, p.SlopeDistance)
	return true
}

// distance returns key position minus query position.
type distance = func(query, key int) int

// withoutOffset measures distances from the query's index, not from its position, index + offset.
func withoutOffset(p *oracle.Problem, right distance) distance {
	offset := p.Offset
	return mapDistance(right, func(d int) int { return d + offset })
}

// mapDistance applies change to every distance; a nil distance is key minus query.
func mapDistance(right distance, change func(int) int) distance {
	return func(query, key int) int {
		d := key - query
		if right != nil {
			d = right(query, key)
		}
		return change(d)
	}
}
