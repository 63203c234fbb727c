package report

import (
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fit"
)

// parameters is the table of a state dict.
type parameters struct {
	Rows     []parameterRow
	ReadBack bool // the subject gives its parameters back
	Fits     bool // least squares asked whether other values explain the output
	Folded   bool // too long to be open
}

// parameterRow is a line of the table. Wrong is set of a parameter that is to be named.
type parameterRow struct {
	Key, Shape, ReadBack, Fit string
	Wrong                     bool
}

// newParameters returns the table of a case; nil if nothing is known beside names and shapes.
func newParameters(r Result) *parameters {
	const open = 20
	table := &parameters{Folded: len(r.Parameters) > open}
	for _, p := range r.Parameters {
		row := parameterRow{Key: p.Key, Shape: attention.FormatShape(p.Shape), ReadBack: p.ReadBack}
		row.Fit, row.Wrong = fitOf(p.Key, r.Diagnosis.Fits)
		row.Wrong = row.Wrong || p.ReadBack != "" && p.ReadBack != unchanged
		table.ReadBack = table.ReadBack || p.ReadBack != ""
		table.Fits = table.Fits || row.Fit != ""
		table.Rows = append(table.Rows, row)
	}
	if !table.ReadBack && !table.Fits {
		return nil
	}
	return table
}

// unchanged is the word for a parameter that reads back as it was given.
const unchanged = "unchanged"

// fitOf tells what least squares found about other values of a parameter, alone or together with
// others, and whether the parameter is to be named. It returns "" if nobody asked.
func fitOf(key string, fits []fit.Fit) (words string, named bool) {
	for _, f := range fits {
		if !slices.Contains(f.Parameters, key) {
			continue
		}
		switch {
		case f.Named() && len(f.Parameters) == 1:
			return "explain the output", true
		case f.Named():
			words, named = "explain the output, with "+f.Freed, true
		case f.Refused == "" && !f.Holds && words == "":
			words = "do not explain the output"
		}
	}
	return words, named
}
