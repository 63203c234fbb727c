package compare

import (
	"math"
	"slices"
)

// WithPadding returns the result in which some rows do not matter: their values are NaN, and have
// no noise. padded has an element for each index of the first dimensions, and is nil if every row
// matters.
func (e Expected) WithPadding(padded []bool) Expected {
	if !slices.Contains(padded, true) {
		return e
	}
	e.Padded = padded
	e.Value, e.Sigma = e.Blank(e.Value), e.silent(e.Sigma)
	return e
}

// Blank returns values of the result's shape with NaN in the rows that do not matter. NaN is right
// where NaN is expected.
func (e Expected) Blank(values []float64) []float64 { return e.replaced(values, math.NaN()) }

// silent returns the noise without the rows that do not matter.
func (e Expected) silent(sigma []float64) []float64 { return e.replaced(sigma, 0) }

// replaced returns a copy of values with one value in all rows that do not matter, or the values
// themselves if there is none.
func (e Expected) replaced(values []float64, by float64) []float64 {
	if len(e.Padded) == 0 || len(values) != len(e.Value) {
		return values
	}
	made, width := slices.Clone(values), e.perRow()
	for row, padded := range e.Padded {
		if padded {
			for i := range width {
				made[row*width+i] = by
			}
		}
	}
	return made
}

// Judged reports whether an element lies in a row that matters.
func (e Expected) Judged(i int) bool { return len(e.Padded) == 0 || !e.Padded[i/e.perRow()] }

// Kept returns the elements of values in rows that matter, one after the other.
func (e Expected) Kept(values []float64) []float64 {
	if len(e.Padded) == 0 || len(values) != len(e.Value) {
		return values
	}
	var kept []float64
	for i, v := range values {
		if e.Judged(i) {
			kept = append(kept, v)
		}
	}
	return kept
}

// Compact returns the result without the rows that do not matter, as rows of the last dimension.
func (e Expected) Compact() Expected {
	if len(e.Padded) == 0 {
		return e
	}
	value := e.Kept(e.Value)
	shape := []int{1, len(value)}
	if width := e.Shape[len(e.Shape)-1]; e.perRow()%width == 0 {
		shape = []int{len(value) / width, width}
	}
	return Expected{Shape: shape, Value: value, Sigma: e.Kept(e.Sigma), Measured: e.Measured}
}

// KeptRows returns the places of the rows of the last dimension that Compact keeps. It returns nil
// if these are all rows.
func (e Expected) KeptRows() []int {
	if len(e.Padded) == 0 {
		return nil
	}
	var rows []int
	width := e.Shape[len(e.Shape)-1]
	for row := range len(e.Value) / width {
		if e.Judged(row * width) {
			rows = append(rows, row)
		}
	}
	return rows
}

// perRow returns the number of elements of a row.
func (e Expected) perRow() int { return max(1, len(e.Value)/max(1, len(e.Padded))) }

// Same reports whether two arrays hold the same values, where NaN equals NaN.
func Same(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return x == y || math.IsNaN(x) && math.IsNaN(y) })
}

func countTrue(values []bool) int {
	n := 0
	for _, v := range values {
		if v {
			n++
		}
	}
	return n
}
