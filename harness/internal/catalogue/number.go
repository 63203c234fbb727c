package catalogue

import (
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Number is a number of a configuration that an implementation may have wrong, such as the base of
// RoPE. The scale is not among them: least squares finds it, together with other parameters.
type Number struct {
	ID    string // "rope-base"
	Title string // follows "the": "RoPE base"
	Fix   string // where the right number comes from, a sentence

	// Usual lists values that configurations have. They are tried first.
	Usual []float64
	// Step restricts the number to multiples of it; 0 if the number is continuous.
	Step int
	// Periodic means that the error has several minima, so that the grid must be fine.
	Periodic bool

	// Get returns the number; false if the computation has none.
	Get func(*oracle.Problem) (float64, bool)
	// Set changes the number of a fork. It writes to nothing that the fork shares.
	Set func(fork *oracle.Problem, value float64)
	// Most returns the largest value of a number with a Step; nil for other numbers.
	Most func(*oracle.Problem) int
}

// Numbers are the numbers that a search can find from an output.
var Numbers = []Number{
	{
		ID: "softcap", Title: "softcap",
		Fix:   "Read the softcap of the attention scores from the configuration of this layer.",
		Usual: []float64{20, 30, 50},
		Get:   func(p *oracle.Problem) (float64, bool) { return p.Softcap, p.Softcap > 0 },
		Set:   func(p *oracle.Problem, v float64) { p.Softcap = v },
	},
	{
		ID: "rope-base", Title: "RoPE base",
		Fix:   "Read rope_theta from the configuration of this layer.",
		Usual: []float64{1e3, 1e4, 1e5, 1.6e5, 2.5e5, 5e5, 1e6, 5e6, 8e6, 1e7},
		Get:   rotaryNumber(func(r *oracle.Rotary) *float64 { return &r.Base }),
		Set:   setRotaryNumber(func(r *oracle.Rotary) *float64 { return &r.Base }),
	},
	{
		ID: "rope-factor", Title: "factor that divides RoPE positions",
		Fix:      "Read the factor of rope_scaling from the configuration of this layer.",
		Usual:    []float64{1, 2, 4, 8, 16, 32},
		Periodic: true,
		Get:      rotaryNumber(func(r *oracle.Rotary) *float64 { return &r.Factor }),
		Set:      setRotaryNumber(func(r *oracle.Rotary) *float64 { return &r.Factor }),
	},
	{
		ID: "rope-dim", Title: "number of rotated features of a head",
		Fix:  "Read the rotary dimension, or the partial rotary factor, from the configuration.",
		Step: 2,
		Get: func(p *oracle.Problem) (float64, bool) {
			if p.Layer == nil || p.Layer.QueryRotary == nil || p.Layer.KeyRotary == nil {
				return 0, false
			}
			return float64(p.Layer.QueryRotary.Dim), true
		},
		Set: func(p *oracle.Problem, v float64) {
			setRotary(p, func(r *oracle.Rotary) { r.Dim = int(v) })
		},
		Most: func(p *oracle.Problem) int { return headWidth(p) },
	},
	{
		ID: "qk-norm-epsilon", Title: "epsilon of the query and key norms",
		Fix:   "Read the epsilon of the norms from the configuration: rms_norm_eps.",
		Usual: []float64{1e-3, 1e-5, 1e-6, 1e-8, 1e-12},
		Get: func(p *oracle.Problem) (float64, bool) {
			if p.Layer == nil || p.Layer.QueryNorm == nil || p.Layer.KeyNorm == nil {
				return 0, false
			}
			return p.Layer.QueryNorm.Epsilon, p.Layer.QueryNorm.Epsilon > 0
		},
		Set: func(p *oracle.Problem, v float64) {
			for _, n := range []**oracle.Norm{&p.Layer.QueryNorm, &p.Layer.KeyNorm} {
				own := **n
				own.Epsilon = v
				*n = &own
			}
		},
	},
	{
		ID: "window", Title: "window",
		Fix:  "Read the sliding window from the configuration of this layer, and count the query itself.",
		Step: 1,
		Get:  func(p *oracle.Problem) (float64, bool) { return float64(p.Window), p.Window > 0 },
		Set:  func(p *oracle.Problem, v float64) { p.Window = int(v) },
		Most: func(p *oracle.Problem) int { return keyCount(p) - 1 },
	},
	{
		ID: "relative-clip", Title: "distance at which the relative bias is clipped",
		Fix:  "Read the largest relative distance from the configuration.",
		Step: 1,
		Get: func(p *oracle.Problem) (float64, bool) {
			return float64(relativeReach(p)), p.Relative != nil && p.RelativeDistance == nil
		},
		Set: func(p *oracle.Problem, v float64) {
			reach := int(v)
			p.RelativeDistance = mapDistance(p.RelativeDistance, func(d int) int { return min(max(d, -reach), reach) })
		},
		Most: relativeReach,
	},
}

// rotaryNumber returns a function that reads a number of the rotation of queries and keys.
func rotaryNumber(of func(*oracle.Rotary) *float64) func(*oracle.Problem) (float64, bool) {
	return func(p *oracle.Problem) (float64, bool) {
		if p.Layer == nil || p.Layer.QueryRotary == nil || p.Layer.KeyRotary == nil {
			return 0, false
		}
		return *of(p.Layer.QueryRotary), true
	}
}

// setRotaryNumber returns a function that changes a number of the rotation of queries and keys.
func setRotaryNumber(of func(*oracle.Rotary) *float64) func(*oracle.Problem, float64) {
	return func(p *oracle.Problem, v float64) {
		setRotary(p, func(r *oracle.Rotary) { *of(r) = v })
	}
}

// setRotary changes the rotation of queries and of keys in the same way.
func setRotary(p *oracle.Problem, change func(*oracle.Rotary)) {
	for _, r := range []**oracle.Rotary{&p.Layer.QueryRotary, &p.Layer.KeyRotary} {
		own := **r
		change(&own)
		*r = &own
	}
}

// relativeReach returns R, the distance at which the relative bias is clipped.
func relativeReach(p *oracle.Problem) int { return (len(p.Relative)/headCount(p) - 1) / 2 }

// Scale is the scale of the scores. Least squares finds it, so it has a name and a fix alone and is
// none of [Numbers].
var Scale = Number{
	ID: "scale", Title: "scale of the scores",
	Fix: "See which width the scale is computed from, and whether it is applied once.",
}

// NumberByID returns a number by its id, [Scale] included, and whether there is one.
func NumberByID(id string) (Number, bool) {
	for _, n := range append([]Number{Scale}, Numbers...) {
		if n.ID == id {
			return n, true
		}
	}
	return Number{}, false
}
