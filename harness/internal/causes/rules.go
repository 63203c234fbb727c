package causes

import (
	"fmt"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/replay"
)

// rule says how the wrong values of a number come from the right ones.
type rule struct {
	text string // follows "the scale of the scores is": "the square root of the right one"
	// value returns the wrong value of a case, NaN if the rule gives none.
	value func(c *fixture.Case, right float64) float64
}

// observed is a number that was found in the output of a case.
type observed struct {
	replay.NumberMatch
	c *fixture.Case
}

// follows reports whether a rule gives a value that explains the output.
func (o observed) follows(r rule) bool { return o.Allows(r.value(o.c, o.Right)) }

// alone reports whether the number gives the output without a mistake beside it.
func (o observed) alone() bool { return len(o.With) == 0 }

// rulesOf returns the rules that all of several wrong values follow, the simplest first. Powers and
// products are told only where no constant does: on cases that are alike they fit by chance.
func rulesOf(all []observed) []rule {
	found := thatFit(slices.Concat(constant(all), offset(all), factor(all)), all)
	if len(found) == 0 {
		return relations(all)
	}
	return found
}

// relations returns the powers and products that all of several precise values follow.
func relations(all []observed) []rule {
	if !precise(all) {
		return nil
	}
	return thatFit(slices.Concat(powers, productRules()), all)
}

// thatFit returns the rules that all observations follow.
func thatFit(rules []rule, all []observed) []rule {
	return slices.DeleteFunc(slices.Clone(rules), func(r rule) bool {
		return slices.ContainsFunc(all, func(o observed) bool { return !o.follows(r) })
	})
}

// precise reports whether the values are known so well that only a true relation gives them: none
// is a whole number, and noise leaves little.
func precise(all []observed) bool {
	const width = 1e-3 // of the value
	return !slices.ContainsFunc(all, func(o observed) bool {
		return o.Number.Step > 0 || o.Most-o.Least > width*math.Abs(o.Value)
	})
}

// constant is the rule of one value for all cases.
func constant(all []observed) []rule {
	v, ok := common(all, func(o observed) (least, most float64) { return o.Least, o.Most })
	if !ok {
		return nil
	}
	if first := all[0].Value; !slices.ContainsFunc(all, func(o observed) bool { return !o.Allows(first) }) {
		v = first
	}
	text := fmt.Sprintf("%.6g in every case", v)
	if right := all[0].Right; !slices.ContainsFunc(all, func(o observed) bool { return o.Right != right }) {
		text = fmt.Sprintf("%.6g where it should be %.6g", v, right)
		if times, ok := commonFactor(all); ok {
			text += fmt.Sprintf(", %.6g times as large", times)
		}
	}
	return []rule{{text, func(*fixture.Case, float64) float64 { return v }}}
}

// offset is the rule of one number added to the right value. Only whole numbers have it.
func offset(all []observed) []rule {
	if all[0].Number.Step == 0 {
		return nil
	}
	v, ok := common(all, func(o observed) (least, most float64) { return o.Least - o.Right, o.Most - o.Right })
	switch {
	case !ok:
		return nil
	case v < 0:
		return []rule{{fmt.Sprintf("%.6g less than it should be", -v), plus(v)}}
	}
	return []rule{{fmt.Sprintf("%.6g more than it should be", v), plus(v)}}
}

func plus(v float64) func(*fixture.Case, float64) float64 {
	return func(_ *fixture.Case, right float64) float64 { return right + v }
}

// factor is the rule of one factor for all cases.
func factor(all []observed) []rule {
	v, ok := commonFactor(all)
	if !ok {
		return nil
	}
	text := fmt.Sprintf("%.6g times as large as it should be", v)
	return []rule{{text, func(_ *fixture.Case, right float64) float64 { return v * right }}}
}

// commonFactor returns the factor between the right and the wrong values. Whole numbers have none.
func commonFactor(all []observed) (factor float64, ok bool) {
	if all[0].Number.Step > 0 || slices.ContainsFunc(all, func(o observed) bool { return o.Right <= 0 }) {
		return 0, false
	}
	return common(all, func(o observed) (least, most float64) { return o.Least / o.Right, o.Most / o.Right })
}

// common returns the number with the fewest digits that lies in the intervals of all observations.
// It reports false if there is none.
func common(all []observed, interval func(observed) (least, most float64)) (value float64, ok bool) {
	const slack, digits = 1e-6, 12
	least, most := math.Inf(-1), math.Inf(1)
	for _, o := range all {
		a, b := interval(o)
		least, most = math.Max(least, a), math.Min(most, b)
	}
	if least > most+slack*math.Abs(most) {
		return 0, false
	}
	middle := (least + most) / 2
	for n := range digits {
		v := middle
		if v != 0 {
			scale := math.Pow(10, float64(n)-math.Floor(math.Log10(math.Abs(v))))
			v = math.Round(v*scale) / scale
		}
		if least <= v && v <= most {
			return v, true
		}
	}
	return middle, true
}

// powers are the rules of a power of the right value.
var powers = []rule{
	{"the square root of the right one", func(_ *fixture.Case, right float64) float64 { return math.Sqrt(right) }},
	{"the square of the right one", func(_ *fixture.Case, right float64) float64 { return right * right }},
	{"the inverse of the right one", func(_ *fixture.Case, right float64) float64 { return 1 / right }},
}

// sources are numbers of a configuration by which another number may be multiplied or divided.
var sources = []struct {
	name string // follows "times": "the number of heads"
	of   func(*fixture.Case) float64
}{
	{"the number of heads", func(c *fixture.Case) float64 {
		heads, _ := headCounts(c)
		return float64(heads)
	}},
	{"the number of key and value heads", func(c *fixture.Case) float64 {
		_, kv := headCounts(c)
		return float64(kv)
	}},
	{"the head size", func(c *fixture.Case) float64 { return float64(headSize(c)) }},
	{"the number of keys", func(c *fixture.Case) float64 { return float64(keyCount(c)) }},
	{"the number of queries", func(c *fixture.Case) float64 { return float64(queryCount(c)) }},
	{"the width of the embedding", func(c *fixture.Case) float64 { return float64(c.Layer.EmbedDim) }},
}

// productRules are the right value times, or divided by, a number of the configuration or its
// square root.
func productRules() []rule {
	var all []rule
	for _, s := range sources {
		for _, root := range []bool{false, true} {
			name, of := s.name, s.of
			if root {
				name = "the square root of " + name
				of = func(c *fixture.Case) float64 { return math.Sqrt(s.of(c)) }
			}
			times := func(c *fixture.Case, right float64) float64 { return right * of(c) }
			over := func(c *fixture.Case, right float64) float64 { return right / of(c) }
			all = append(all,
				rule{"the right one times " + name, times},
				rule{"the right one divided by " + name, over})
		}
	}
	return all
}
