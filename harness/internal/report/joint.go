package report

import (
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/replay"
)

// Joint is an explanation of an output by wrong numbers and mistakes at once. Other cases of the
// run show one of them alone.
type Joint struct {
	Numbers  []replay.NumberMatch
	Mistakes []catalogue.Mistake
	Residual float64 // RMS(got - replay) / RMS(replay)
	MaxZ     float64 // of got - replay, in units of the replay's sigma
}

// IDs returns the ids of the numbers, and then of the mistakes.
func (j Joint) IDs() []string {
	var ids []string
	for _, n := range j.Numbers {
		ids = append(ids, n.Number.ID)
	}
	return append(ids, catalogue.IDs(j.Mistakes)...)
}

// ID joins the ids: "scale+causal-missing".
func (j Joint) ID() string { return strings.Join(j.IDs(), "+") }

// Label is the ID with the values of the numbers: "scale 0.474342 + causal-missing".
func (j Joint) Label() string {
	var words []string
	for _, n := range j.Numbers {
		words = append(words, n.Label())
	}
	return strings.Join(append(words, catalogue.IDs(j.Mistakes)...), " + ")
}

// Title follows "computed with".
func (j Joint) Title() string {
	var words []string
	for _, n := range j.Numbers {
		words = append(words, n.Title())
	}
	for _, m := range j.Mistakes {
		words = append(words, m.Title)
	}
	return strings.Join(words, ", and ")
}

// Fixes returns a sentence for each part: how to correct it.
func (j Joint) Fixes() []string {
	var fixes []string
	for _, n := range j.Numbers {
		fixes = append(fixes, n.Number.Fix)
	}
	for _, m := range j.Mistakes {
		fixes = append(fixes, m.Fix)
	}
	return fixes
}

// Values returns the values of the numbers in the output, by id.
func (j Joint) Values() map[string]float64 {
	values := map[string]float64{}
	for _, n := range j.Numbers {
		values[n.Number.ID] = n.Value
	}
	return values
}

// Has reports whether a number or a mistake with this id is a part.
func (j Joint) Has(id string) bool { return slices.Contains(j.IDs(), id) }
