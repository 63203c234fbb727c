package diagnose

import (
	"context"
	"fmt"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
)

// unwritten decides if no wrong row holds a result of its own.
func unwritten(in *input) *finding {
	width := num.Last(in.comparison.WantShape)
	for row, wrong := range in.comparison.WrongRows() {
		if wrong && !repeats(in.got[row*width:][:width], 1) && !copied(in, row) {
			return nil
		}
	}
	if len(in.structure.WrongRows) == 0 {
		return nil
	}
	return findingf(Unclear, "every wrong row is constant or a copy of another, "+
		"as rows are that were not written, or written over")
}

// copied reports whether a row of the output equals another row.
func copied(in *input, row int) bool {
	width := num.Last(in.comparison.WantShape)
	values := in.got[row*width:][:width]
	for other := range len(in.got) / width {
		if other != row && slices.Equal(values, in.got[other*width:][:width]) {
			return true
		}
	}
	return false
}

// rowsOfAMask decides if a missing mask changes exactly the wrong rows, and a right row mixes
// several keys. The right row proves nothing about keys that it does not see.
func rowsOfAMask(ctx context.Context, in *input, _ fit.Result) answer {
	witness := sensitiveRow(in)
	if witness == "" {
		return answer{}
	}
	wrong := in.replays.Sampled.Comparison.WrongRows()
	for _, r := range in.replays.Visible {
		missing := r.Mistake.Kind == catalogue.Missing
		if missing && slices.Equal(wrong, r.Comparisons[0].WrongRows()) && touches(ctx, in, r.Mistake) {
			class := MissingFeature
			if in.problem.Past != nil {
				// The cached keys or values may be wrong, and the right row may see none of them.
				class = Unclear
			}
			f := findingf(class, "%s mixes several keys and is right", witness)
			f.because("the wrong rows are those that change with %s, but the output is not that", r.Mistake.Title)
			return answer{finding: f}
		}
	}
	return answer{}
}

// sensitiveRow names a right row that sees two keys or more and is not saturated: a missing scale
// changes it. Every weight matters in such a row. It returns "" if there is none.
func sensitiveRow(in *input) string {
	visible, sampled := in.replays.Visible, in.replays.Sampled
	i := slices.IndexFunc(visible, func(r replay.Replay) bool { return r.Mistake.ID == "scale-missing" })
	if i < 0 {
		return ""
	}
	unscaled := visible[i].Comparisons[0].WrongRows()
	shape := in.comparison.WantShape
	rows := shape[len(shape)-2]
	for i, wrong := range sampled.Comparison.WrongRows() {
		if row := sampled.Row(i); !wrong && unscaled[i] && in.visible[row] >= 2 {
			return fmt.Sprintf("row %d of %s", row%rows, in.structure.label(row/rows))
		}
	}
	return ""
}

// touches reports whether a mistake changes exactly the wrong rows of the whole output.
func touches(ctx context.Context, in *input, m catalogue.Mistake) bool {
	if !in.replays.Sampled.Partial() {
		return true // the sample is the whole output
	}
	wrong, ok := catalogue.Make(in.problem, nil, m)
	if !ok {
		return false
	}
	f, err := wrong.Rows(ctx, nil, oracle.ValuesAlone)
	if err != nil {
		return false
	}
	changed := compare.Outputs(f.Shape, f.Value, in.truth).WrongRows()
	return slices.Equal(in.comparison.WrongRows(), changed)
}

// rowsOfTheScores decides if exactly the rows that see one key are right. Such a row has a
// softmax of 1 whatever its score, so it shows only the values.
func rowsOfTheScores(in *input) *finding {
	single, right := 0, 0
	for row, wrong := range in.comparison.WrongRows() {
		switch {
		case in.visible[row] == 1 && wrong:
			return nil
		case in.visible[row] == 1:
			single++
		case in.visible[row] > 1 && !wrong:
			right++
		}
	}
	if single == 0 || right > 0 {
		return nil
	}
	const text = "the %d rows that see one key are right and all others are wrong: look first at what " +
		"decides between keys (query, key, scale, mask, softmax, number of heads)"
	return findingf(Unclear, text, single)
}
