package fit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// contradicted says how many right rows contradict values that fit; "" if none do.
//
// A parameter that is another changes every row that it takes part in. Where rows are few, least
// squares also finds values whose changes cancel in the right rows. The change found is therefore
// made again with random signs, so that nothing cancels. A row contradicts the fit if the output
// has it right, although every change with random signs moves it far out of the noise. A row that
// the parameter cannot reach does not: a row with one key, for a query weight.
func (f *fitter) contradicted(out attempt) string {
	const draws = 5
	right := f.rightRows(f.got, compare.MaxZ)
	var still [draws][]bool // rows that a change with random signs leaves right, or nearly
	for n := range still {
		wrong := f.withRandomSigns(out, rand.New(rand.NewPCG(13, uint64(n))))
		y, err := wrong.Rows(f.ctx, nil, oracle.ValuesAlone)
		if err != nil {
			return interrupted
		}
		still[n] = f.rightRows(y.Value, 4*compare.MaxZ)
	}
	against := contradicting(right, still[:])
	if against == 0 {
		return ""
	}
	const text = "values that fit were found, but %d rows are right that such a change moves"
	return fmt.Sprintf(text, against)
}

// contradicting counts the rows that are right in an output and in none of the draws. It returns 0
// if a draw has half as many that are right in none of the others: a saturated softmax leaves a row
// right by chance.
func contradicting(right []bool, draws [][]bool) int {
	against, chance := rightInNone(right, draws), 0
	for n := range draws {
		chance = max(chance, rightInNone(draws[n], slices.Concat(draws[:n], draws[n+1:])))
	}
	if against <= 2*chance {
		return 0
	}
	return against
}

// rightInNone counts the rows that are right in one output and in none of the others.
func rightInNone(one []bool, others [][]bool) int {
	count := 0
	for row, right := range one {
		for _, other := range others {
			right = right && !other[row]
		}
		if right {
			count++
		}
	}
	return count
}

// rightRows reports for each row whether no element is further than a limit, in sigma, from the
// truth.
func (f *fitter) rightRows(y []float64, limit float64) []bool {
	truth, width := f.trace.Output, f.p.Layer.Output.Out
	right := make([]bool, len(y)/width)
	for row := range right {
		right[row] = true
		for i := row * width; i < (row+1)*width; i++ {
			want, sigma := truth.Value[i], math.Sqrt(truth.Variance[i])
			within := math.Abs(y[i]-want) <= limit*sigma || math.IsNaN(y[i]) && math.IsNaN(want)
			right[row] = right[row] && within
		}
	}
	return right
}

// withRandomSigns returns the right problem with the change that a fit found, each element with a
// random sign.
func (f *fitter) withRandomSigns(out attempt, r *rand.Rand) *oracle.Problem {
	p := f.p.Clone()
	for _, m := range out.free.projections {
		to, found := p.Layer.Projections()[m], out.problem.Layer.Projections()[m]
		change(to.Weight, found.Weight, r)
		change(to.Bias, found.Bias, r)
	}
	return p
}

// change adds the differences of found values to right ones, with random signs.
func change(right, found []float64, r *rand.Rand) {
	for i, v := range found {
		if r.IntN(2) == 0 {
			right[i] = v
		} else {
			right[i] -= v - right[i]
		}
	}
}
