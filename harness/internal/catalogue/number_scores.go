package catalogue

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// scoreNumbers are the numbers that make scores, and the weights from them.
var scoreNumbers = []Number{
	{
		ID: "scale", Title: "scale of the scores",
		Stage:      Score,
		Configured: true,
		Fix:        "See which width the scale is computed from, and whether it is applied once.",
		Alike:      sameAsScale,
		Get:        scaleOf,
		Set:        func(p *oracle.Problem, v float64) { p.Scale = v },
		Range:      around(scaleOf, 300),
	},
	{
		ID: "temperature", Title: "temperature that divides scores, biases and sinks",
		Stage: Score,
		Fix:   "Leave the scores as they are once they are scaled, capped and biased.",
		Get: rightIf(1, func(p *oracle.Problem) bool {
			return p.Softcap > 0 || p.Slopes != nil || p.Relative != nil || p.Sinks != nil || hasFiniteBias(p)
		}),
		Set:   setTemperature,
		Range: between(1.0/100, 100),
	},
	{
		ID: "softcap", Title: "softcap",
		Stage:      Score,
		Configured: true,
		Fix:        "Read the softcap of the attention scores from the configuration of this layer.",
		Usual:      []float64{20, 30, 50},
		Get:        softcapOf,
		Set:        func(p *oracle.Problem, v float64) { p.Softcap = v },
		Range:      around(softcapOf, 1e4),
	},
	{
		ID: "score-offset", Title: "number added to the scores",
		Stage: Score,
		Fix:   "Add nothing to the scores but the masks and biases of this layer.",
		Added: true,
		Get: rightIf(0, func(p *oracle.Problem) bool {
			return p.Softcap > 0 || p.Layer != nil && (p.Layer.LearnedKey != nil || p.Layer.ZeroKey)
		}),
		Set:   setScoreOffset,
		Range: between(-30, 30),
	},
	{
		ID: "sink-offset", Title: "number added to every sink",
		Stage: Score,
		Fix:   "Use the sinks as the state dict has them.",
		Alike: func(*oracle.Problem) string { return "all scores that much smaller would give the same" },
		Added: true,
		Get:   rightIf(0, func(p *oracle.Problem) bool { return p.Sinks != nil }),
		Set: func(p *oracle.Problem, v float64) {
			p.Sinks = mapped(p.Sinks, func(s float64) float64 { return s + v })
		},
		Range: between(-30, 30),
	},
	{
		ID: "alibi-bias-max", Title: "exponent of ALiBi's last slope, 2^-8",
		Stage:      Score,
		Configured: true,
		Fix: "Compute the slopes of n heads as 2^(-8h/n), h from 1. " +
			"Some configurations call the 8 alibi_bias_max.",
		Usual: []float64{4, 8, 16},
		Get:   rightIf(8, func(p *oracle.Problem) bool { return p.Slopes != nil }),
		Set: func(p *oracle.Problem, v float64) {
			p.Slopes = mapped(p.Slopes, func(s float64) float64 { return math.Pow(s, v/8) })
		},
		Range: between(8.0/100, 800),
	},
	{
		ID: "zero-keys", Title: "number of keys of zeros that take part",
		Stage: Score,
		Fix:   "Mask the slots of the cache, and the keys of a tile, that hold no key.",
		Step:  1,
		Get:   rightIf(0, func(*oracle.Problem) bool { return true }),
		Set: func(p *oracle.Problem, v float64) {
			p.ZeroKeys, p.EmptyRow = p.ZeroKeys+int(v), attention.EmptyZero
		},
		Range: between(1, 32),
	},
}

func scaleOf(p *oracle.Problem) (float64, bool)   { return p.Scale, p.Scale > 0 }
func softcapOf(p *oracle.Problem) (float64, bool) { return p.Softcap, p.Softcap > 0 }

// sameAsScale tells about layers: their projections may hold the factor.
func sameAsScale(p *oracle.Problem) string {
	if p.Layer == nil {
		return ""
	}
	return "all queries, or all keys, that much larger would give the same"
}

// hasFiniteBias reports whether an additive mask holds more than 0 and what hides keys.
func hasFiniteBias(p *oracle.Problem) bool {
	const hides = -1e4
	return p.Bias != nil && slices.ContainsFunc(p.Bias.Value, func(b float64) bool { return b != 0 && b > hides })
}

func setTemperature(p *oracle.Problem, v float64) {
	p.VisibleScore = func(s float64) (float64, float64) { return s / v, 1 / v }
	p.Sinks = mapped(p.Sinks, func(s float64) float64 { return s / v })
}

// setScoreOffset adds a number before the softcap. Without a softcap the number must leave out the
// appended keys, because a softmax does not see what all scores share.
func setScoreOffset(p *oracle.Problem, v float64) {
	scale, limit := p.Scale, p.Softcap
	switch {
	case limit > 0:
		p.Score = func(product float64) (score, slope float64) {
			t := math.Tanh((scale*product + v) / limit)
			return limit * t, scale * (1 - t*t)
		}
	case p.Bias == nil:
		p.Bias = &oracle.Array{Shape: []int{1, 1}, Value: []float64{v}}
	default:
		p.Bias = &oracle.Array{
			Shape: p.Bias.Shape,
			Value: mapped(p.Bias.Value, func(b float64) float64 { return b + v }),
		}
	}
}

// mapped returns a changed copy of a list; nil for nil.
func mapped(values []float64, change func(float64) float64) []float64 {
	changed := slices.Clone(values)
	for i, v := range changed {
		changed[i] = change(v)
	}
	return changed
}
