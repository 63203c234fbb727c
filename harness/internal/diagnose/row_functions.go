package diagnose

import (
	"math"

	"github.com/difftest/difftest/harness/internal/num"
)

// rowFunction is a function that code often applies to each row of a result, along its last
// dimension. An element of the result depends on the element of the row and on a total of the row.
type rowFunction struct {
	text  string
	total func(row []float64) float64

	// share is the derivative of the total by an element.
	share func(element, total float64) float64

	// of is the element of the result, with its derivatives by the element and by the total.
	of func(element, total float64) (value, byElement, byTotal float64)
}

var rowFunctions = []rowFunction{
	{
		"the softmax of each row of the expected one", logSumExp, probability,
		func(x, total float64) (value, byElement, byTotal float64) {
			p := probability(x, total)
			return p, p, -p
		},
	},
	{
		"the logarithm of the softmax of each row of the expected one (log_softmax)", logSumExp, probability,
		func(x, total float64) (value, byElement, byTotal float64) { return x - total, 1, -1 },
	},
	{
		"the expected one, each row divided by its length (L2 norm)", length,
		func(x, total float64) float64 { return x / total },
		func(x, total float64) (value, byElement, byTotal float64) {
			return x / total, 1 / total, -x / total / total
		},
	},
}

func probability(x, logSum float64) float64 { return math.Exp(x - logSum) }

// logSumExp returns the logarithm of the sum of the exponentials.
func logSumExp(row []float64) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, x := range row {
		top = max(top, x)
	}
	for _, x := range row {
		sum += math.Exp(x - top)
	}
	return top + math.Log(sum)
}

func length(row []float64) float64 { return num.RMS(row) * math.Sqrt(float64(len(row))) }

// appliedToRows is a function of each expected row. appliedToRows returns nil if the function
// changes too few elements, or if the result has no rows of several elements.
func appliedToRows(in *input, f rowFunction) *relation {
	if len(in.truth.Shape) == 0 || num.Last(in.truth.Shape) < 2 {
		return nil
	}
	width := num.Last(in.truth.Shape)
	var totals, noises []float64 // of each row
	for first := 0; first < len(in.got); first += width {
		row, variance := in.truth.Value[first:][:width], 0.0
		total := f.total(row)
		for i, w := range row {
			change := f.share(w, total) * in.truth.Sigma[first+i]
			variance += change * change
		}
		totals, noises = append(totals, total), append(noises, math.Sqrt(variance))
	}
	return following(in, f.text, func(i int) (value, noise float64) {
		v, byElement, byTotal := f.of(in.truth.Value[i], totals[i/width])
		// errors of an element and of the total may go together
		return v, math.Abs(byElement)*in.truth.Sigma[i] + math.Abs(byTotal)*noises[i/width]
	})
}
