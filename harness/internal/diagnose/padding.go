package diagnose

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
)

// rowsThatMatter returns 1 for each row of an output that matters, and 0 for the others.
func rowsThatMatter(truth compare.Expected) []int {
	width := num.Last(truth.Shape)
	rows := slices.Repeat([]int{1}, len(truth.Value)/width)
	for row := range rows {
		if !truth.Judged(row * width) {
			rows[row] = 0
		}
	}
	return rows
}

// leaveOutPadding takes the rows that do not matter out of everything that steps look at. The
// replay of mistakes and the search for orders look at the whole output.
func (in *input) leaveOutPadding() {
	lower := map[string][]float64{}
	for name, sigma := range in.lower {
		lower[name] = in.whole.Kept(sigma)
	}
	in.truth, in.got, in.lower, in.kept = in.whole.Compact(), in.whole.Kept(in.got), lower, in.whole.KeptRows()
	in.comparison.Z = in.whole.Kept(in.comparison.Z)
}

// rowNumber returns the place in the output of a row that steps look at.
func (in *input) rowNumber(i int) int {
	if in.kept == nil {
		return i
	}
	return in.kept[i]
}
