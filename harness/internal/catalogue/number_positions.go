package catalogue

import (
	"github.com/difftest/difftest/harness/internal/oracle"
)

// rotaryNumbers are the numbers of rotary positions and of the norms before them.
var rotaryNumbers = []Number{
	{
		ID: "rope-base", Title: "RoPE base",
		Configured: true,
		Fix:        "Read rope_theta from the configuration of this layer.",
		Refs:       []string{"E06"},
		Evidence:   "https://github.com/Avarok-Cybersecurity/atlas/pull/276",
		Usual:      []float64{1e3, 1e4, 1e5, 1.6e5, 2.5e5, 5e5, 1e6, 5e6, 8e6, 1e7},
		Get:        rotaryNumber(func(r *oracle.Rotary) *float64 { return &r.Base }),
		Set:        setRotaryNumber(func(r *oracle.Rotary) *float64 { return &r.Base }),
		Range:      between(1.01, 1e10),
	},
	{
		ID: "rope-factor", Title: "factor that divides RoPE positions",
		Configured: true,
		Fix:        "Read the factor of rope_scaling from the configuration of this layer.",
		Usual:      []float64{1, 2, 4, 8, 16, 32},
		Periodic:   true,
		Get:        rotaryNumber(func(r *oracle.Rotary) *float64 { return &r.Factor }),
		Set:        setRotaryNumber(func(r *oracle.Rotary) *float64 { return &r.Factor }),
		Range:      around(rotaryNumber(func(r *oracle.Rotary) *float64 { return &r.Factor }), 64),
	},
	{
		ID: "rope-dim", Title: "number of rotated features of a head",
		Configured: true,
		Fix:        "Read the rotary dimension, or the partial rotary factor, from the configuration.",
		Step:       2,
		Get: func(p *oracle.Problem) (float64, bool) {
			return wholeRotary(p, func(r *oracle.Rotary) int { return r.Dim })
		},
		Set:   func(p *oracle.Problem, v float64) { setRotary(p, func(r *oracle.Rotary) { r.Dim = int(v) }) },
		Range: func(p *oracle.Problem) (least, most float64) { return 2, float64(headWidth(p)) },
	},
	{
		ID: "rope-query-position", Title: "RoPE position of the first query alone",
		Fix:   "Use the same positions for queries and keys. The first new position is the length of the cache.",
		Alike: func(*oracle.Problem) string { return "all keys that much earlier would give the same" },
		Step:  1,
		Get:   firstRotary,
		Set: func(p *oracle.Problem, v float64) {
			own := *p.Layer.QueryRotary
			own.First = int(v)
			p.Layer.QueryRotary = &own
		},
		Range: aroundFirst,
	},
	{
		ID: "rope-first-position", Title: "RoPE position of the first new query and key",
		Fix:  "Start the positions of new queries and keys after the last cached position.",
		Step: 1,
		Get: func(p *oracle.Problem) (float64, bool) {
			first, ok := firstRotary(p)
			return first, ok && pastCount(p) > 0
		},
		Set:   func(p *oracle.Problem, v float64) { setRotary(p, func(r *oracle.Rotary) { r.First = int(v) }) },
		Range: aroundFirst,
	},
	{
		ID: "qk-norm-epsilon", Title: "epsilon of the query and key norms",
		Configured: true,
		Fix:        "Read the epsilon of the norms from the configuration: rms_norm_eps.",
		Usual:      []float64{1e-3, 1e-5, 1e-6, 1e-8, 1e-12},
		Vanishes:   true,
		Get: func(p *oracle.Problem) (float64, bool) {
			if !hasQKNorm(p) {
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
		Range: between(1e-14, 1e2),
	},
}

// positionNumbers are the numbers that decide which keys a query sees, and by which distance.
var positionNumbers = []Number{
	{
		ID: "window", Title: "window",
		Stage:      Score,
		Configured: true,
		Fix:        "Read the sliding window from the configuration of this layer, and count the query itself.",
		Step:       1,
		Get:        func(p *oracle.Problem) (float64, bool) { return float64(p.Window), p.Window > 0 },
		Set:        func(p *oracle.Problem, v float64) { p.Window = int(v) },
		Range:      func(p *oracle.Problem) (least, most float64) { return 1, float64(keyCount(p) - 1) },
	},
	{
		ID: "causal-offset", Title: "number of keys after itself that the causal mask lets a query see",
		Stage:      Score,
		Configured: true,
		Fix:        "Hide key j from query i where j > i + offset. The offset is the length of the cache, or S - L.",
		Step:       1,
		Get:        rightIf(0, func(p *oracle.Problem) bool { return p.Causal != nil }),
		Set: func(p *oracle.Problem, v float64) {
			sees := p.Causal
			p.Causal = func(query, key int) bool { return sees(query+int(v), key) }
		},
		Range: func(p *oracle.Problem) (least, most float64) {
			const far = 1024
			last := p.Offset + queryCount(p) - 1
			return float64(max(-last, -far)), float64(min(keyCount(p)-2-p.Offset, far))
		},
	},
	{
		ID: "first-position", Title: "position of the first query",
		Configured: true,
		Fix:        "Count the positions of new queries and keys from the length of the cache on.",
		Step:       1,
		Get:        func(p *oracle.Problem) (float64, bool) { return float64(p.Offset), p.Offset > 0 },
		Set:        setFirstPosition,
		Range: func(p *oracle.Problem) (least, most float64) {
			const further = 16
			return 0, float64(p.Offset + further)
		},
	},
	{
		ID: "relative-clip", Title: "distance at which the relative bias is clipped",
		Stage:      Score,
		Configured: true,
		Fix:        "Read the largest relative distance from the configuration.",
		Step:       1,
		Get: func(p *oracle.Problem) (float64, bool) {
			return float64(relativeReach(p)), p.Relative != nil && p.RelativeDistance == nil
		},
		Set: func(p *oracle.Problem, v float64) {
			reach := int(v)
			p.RelativeDistance = mapDistance(p.RelativeDistance, func(d int) int { return min(max(d, -reach), reach) })
		},
		Range: func(p *oracle.Problem) (least, most float64) { return 1, float64(relativeReach(p)) },
	},
}

// cacheNumbers are factors that an undone quantisation leaves on a cache.
var cacheNumbers = []Number{
	{
		ID: "cache-key-factor", Title: "factor on the cached keys",
		Fix:   "Multiply the cached keys by the scale of their quantisation, once, before they are used.",
		Usual: []float64{127, 448, 1.0 / 127, 1.0 / 448},
		Get:   rightIf(1, hasPast),
		Set: func(p *oracle.Problem, v float64) {
			p.Past = &oracle.Past{Key: times(p.Past.Key, v), Value: p.Past.Value}
		},
		Range: between(1e-4, 1e4),
	},
	{
		ID: "cache-value-factor", Title: "factor on the cached values",
		Fix:   "Multiply the cached values by the scale of their quantisation, once, before they are used.",
		Usual: []float64{127, 448, 1.0 / 127, 1.0 / 448},
		Get:   rightIf(1, hasPast),
		Set: func(p *oracle.Problem, v float64) {
			p.Past = &oracle.Past{Key: p.Past.Key, Value: times(p.Past.Value, v)}
		},
		Range: between(1e-4, 1e4),
	},
}

// rotates reports whether queries and keys are rotated.
func rotates(p *oracle.Problem) bool {
	return p.Layer != nil && p.Layer.QueryRotary != nil && p.Layer.KeyRotary != nil
}

// rotaryNumber returns a function that reads a number of the rotation of queries and keys.
func rotaryNumber(of func(*oracle.Rotary) *float64) func(*oracle.Problem) (float64, bool) {
	return func(p *oracle.Problem) (float64, bool) {
		if !rotates(p) {
			return 0, false
		}
		return *of(p.Layer.QueryRotary), true
	}
}

// wholeRotary reads a whole number of the rotation of queries and keys.
func wholeRotary(p *oracle.Problem, of func(*oracle.Rotary) int) (float64, bool) {
	if !rotates(p) {
		return 0, false
	}
	return float64(of(p.Layer.QueryRotary)), true
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

// firstRotary returns the position by which the first query is rotated.
func firstRotary(p *oracle.Problem) (float64, bool) {
	return wholeRotary(p, func(r *oracle.Rotary) int { return r.First })
}

// aroundFirst is the range of positions that are easily confused with the first one.
func aroundFirst(p *oracle.Problem) (least, most float64) {
	const away = 16
	first, _ := firstRotary(p)
	return -away, first + away
}

// setFirstPosition leaves cached keys at their positions.
func setFirstPosition(p *oracle.Problem, v float64) {
	moved := int(v) - p.Offset
	p.Offset = int(v)
	if rotates(p) {
		setRotary(p, func(r *oracle.Rotary) { r.First += moved })
	}
}

// relativeReach returns R, the distance at which the relative bias is clipped.
func relativeReach(p *oracle.Problem) int { return (len(p.Relative)/headCount(p) - 1) / 2 }

func hasPast(p *oracle.Problem) bool { return pastCount(p) > 0 }

// times returns an array times a factor.
func times(a oracle.Array, factor float64) oracle.Array {
	return oracle.Array{Shape: a.Shape, Value: mapped(a.Value, func(v float64) float64 { return factor * v })}
}
