package review

import (
	"fmt"
	"math"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// movement is the distance between two versions of an array.
type movement struct {
	elements, differing int

	// Of floating-point arrays. A number that became NaN or infinite, or the reverse, moved
	// infinitely far, and is left out of rel.
	ulp     float64 // largest distance, in units in the last place of the largest value in the row
	largest float64 // largest distance, absolute
	rel     float64 // RMS(new - old) / RMS(old)
}

// measure compares two floating-point arrays of one dtype and shape.
func measure(t fixture.DType, shape []int, before, after []float64) movement {
	d := compare.Values(shape, after, before)
	m := movement{elements: d.Elements, differing: d.Elements - d.Equal, rel: d.Rel}
	width := 1
	if len(shape) > 0 {
		width = max(1, shape[len(shape)-1])
	}
	for start := 0; start < len(before); start += width {
		row := before[start : start+width]
		unit := t.ULP(largest(row))
		for i, b := range row {
			distance := compare.Distance(b, after[start+i])
			m.largest = math.Max(m.largest, distance)
			m.ulp = math.Max(m.ulp, distance/unit)
		}
	}
	return m
}

func (m movement) String() string {
	return fmt.Sprintf("%d of %d elements, by at most %.3g ULP, %.2g absolute, relative RMS %.2g",
		m.differing, m.elements, m.ulp, m.largest, m.rel)
}

// largest returns the largest magnitude among the finite values.
func largest(values []float64) float64 {
	most := 0.0
	for _, v := range values {
		if a := math.Abs(v); a > most && !math.IsInf(a, 0) {
			most = a
		}
	}
	return most
}

// norm returns the root of the sum of squares.
func norm(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v * v
	}
	return math.Sqrt(sum)
}
