package replay

import (
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
)

// Replay is one mistake made on the sampled or early rows of a case, without noise.
type Replay struct {
	Mistake catalogue.Mistake
	// Outputs holds one output, or one for each draw of a random mistake. It is empty if the
	// mistake does not apply to the case.
	Outputs     [][]float64
	Comparisons []compare.Comparison // of each output with the truth
	Early       bool                 // the rows are the case's early ones, not the sampled ones
}

// applies reports whether the case has anything that the mistake changes.
func (r Replay) applies() bool { return len(r.Outputs) > 0 }

// visible reports whether the sample can see the mistake: an output is outside the noise.
func (r Replay) visible() bool {
	return slices.ContainsFunc(r.Comparisons, func(c compare.Comparison) bool { return !c.OK() })
}

// Band is the size and direction of one mistake on a case, against the truth: the least and the
// greatest value over its draws.
type Band struct {
	Mistake catalogue.Mistake
	Rel     Range
	Gain    Range
	Cosine  Range
}

// Range runs from the least to the greatest of some values.
type Range struct{ Min, Max float64 }

// Band returns the band of an applicable mistake.
func (r Replay) Band() Band {
	first := r.Comparisons[0]
	b := Band{
		Mistake: r.Mistake,
		Rel:     Range{first.Rel, first.Rel},
		Gain:    Range{first.Gain, first.Gain},
		Cosine:  Range{first.Cosine, first.Cosine},
	}
	for _, c := range r.Comparisons[1:] {
		b.Rel.include(c.Rel)
		b.Gain.include(c.Gain)
		b.Cosine.include(c.Cosine)
	}
	return b
}

func (r *Range) include(v float64) {
	r.Min, r.Max = math.Min(r.Min, v), math.Max(r.Max, v)
}
