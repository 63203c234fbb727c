package replay

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// Distance is how far an output is from the output that a known mistake gives.
type Distance struct {
	ID       string
	Where    string  // path of the only place in a model; "" if it is made everywhere
	Residual float64 // RMS(got - replay) / RMS(replay), in the sampled rows
}

// Distances returns the distance of every candidate, the nearest first. Candidates with infinities
// or NaN where the output has none are left out.
func (o Output) Distances() []Distance {
	var all []Distance
	for _, r := range o.Candidates {
		if d := o.distance(r); !math.IsInf(d, 0) && !math.IsNaN(d) {
			all = append(all, Distance{ID: r.Mistake.ID, Residual: d})
		}
	}
	slices.SortStableFunc(all, func(a, b Distance) int { return cmp.Compare(a.Residual, b.Residual) })
	return all
}

// byDistance returns the distance of each mistake at its nearest place, the nearest mistake first.
// Among equally near places, all places together come before one of them.
func byDistance(made map[string]hypothesis) []Distance {
	least := map[string]Distance{}
	for _, h := range made {
		d := Distance{ID: h.mistake.ID, Where: h.where, Residual: h.residual}
		if h.discarded || math.IsInf(d.Residual, 0) || math.IsNaN(d.Residual) {
			continue
		}
		if other, ok := least[d.ID]; !ok || d.compare(other) < 0 {
			least[d.ID] = d
		}
	}
	return slices.SortedFunc(maps.Values(least), Distance.compare)
}

// compare orders distances: the nearer first, and equal ones by their place and their mistake.
func (d Distance) compare(other Distance) int {
	return cmp.Or(
		cmp.Compare(d.Residual, other.Residual), cmp.Compare(d.Where, other.Where), cmp.Compare(d.ID, other.ID))
}
