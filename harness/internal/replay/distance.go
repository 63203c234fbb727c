package replay

import (
	"cmp"
	"math"
	"slices"
)

// Distance is how far an output is from the output that a known mistake gives.
type Distance struct {
	ID       string
	Residual float64 // RMS(got - replay) / RMS(replay), in the sampled rows
}

// Distances returns the distance of every candidate, the nearest first. Candidates with infinities
// or NaN where the output has none are left out.
func (o Output) Distances() []Distance {
	var all []Distance
	for _, r := range o.Candidates {
		if d := o.distance(r); !math.IsInf(d, 0) && !math.IsNaN(d) {
			all = append(all, Distance{r.Mistake.ID, d})
		}
	}
	slices.SortStableFunc(all, func(a, b Distance) int { return cmp.Compare(a.Residual, b.Residual) })
	return all
}
