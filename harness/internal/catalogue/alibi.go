package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// slopes are those of ALiBi.
var slopes = []Mistake{
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
		Plant:       sloped(flat),
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
		Plant:       sloped(func(was []float64) []float64 { return times(was, -1) }),
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
		Plant:       sloped(oneSeries),
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
		Plant:       sloped(fromZero),
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
		Plant:       slopesPastIgnored,
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
		Plant:    slopesMissingAtDecode,
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
		Plant:       sloped(reversedSlopes),
	},
}

// sloped puts other slopes in the place of the case's, where they are others.
func sloped(to func([]float64) []float64) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		wrong := to(p.Slopes)
		if p.Slopes == nil || slices.Equal(wrong, p.Slopes) {
			return false
		}
		p.Slopes = wrong
		return true
	}
}

func flat([]float64) []float64 { return nil }

// below is the greatest power of two that is not above n.
func below(n int) int {
	power := 1
	for 2*power <= n {
		power *= 2
	}
	return power
}

// oneSeries leaves the slopes of a power of two, which are one series, as they are.
func oneSeries(was []float64) []float64 {
	wrong := slices.Clone(was)
	if heads := len(was); heads > 0 && below(heads) < heads {
		for h := range wrong {
			wrong[h] = math.Exp2(-8 * float64(h+1) / float64(heads))
		}
	}
	return wrong
}

// fromZero makes each slope steeper by a step of its series, that of n heads or, behind those, of 2n.
func fromZero(was []float64) []float64 {
	wrong, n := slices.Clone(was), below(len(was))
	for h := range wrong {
		series := n
		if h >= n {
			series = 2 * n
		}
		wrong[h] *= math.Exp2(8 / float64(series))
	}
	return wrong
}

func reversedSlopes(was []float64) []float64 {
	wrong := slices.Clone(was)
	slices.Reverse(wrong)
	return wrong
}

func slopesMissingAtDecode(p *oracle.Problem, r *rand.Rand) bool {
	return queryCount(p) == 1 && sloped(flat)(p, r)
}

func slopesPastIgnored(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Slopes == nil || p.Offset == 0 {
		return false
	}
	p.SlopeDistance = pastIgnored(p, p.SlopeDistance)
	return true
}

// pastIgnored is the distance from a query's place among the new ones.
func pastIgnored(p *oracle.Problem, was func(query, key int) int) func(query, key int) int {
	offset := p.Offset
	return changed(was, func(distance int) int { return distance + offset })
}

// changed makes a distance of another one, nil: key minus query.
func changed(was func(query, key int) int, change func(distance int) int) func(query, key int) int {
	return func(query, key int) int {
		distance := key - query
		if was != nil {
			distance = was(query, key)
		}
		return change(distance)
	}
}
