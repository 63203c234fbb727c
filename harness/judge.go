package harness

import (
	"fmt"
	"math"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/compare"
	"github.com/difftest/difftest/harness/diagnose"
	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/oracle"
	"github.com/difftest/difftest/harness/report"
)

// reproduction is how closely the oracle must agree with PyTorch's float64 result before it may
// judge a case, relative to the largest value: some thousand roundings of a float64.
const reproduction = 1e-12

// Judge compares an output of a case, wherever it was made, with PyTorch's float64 result and
// diagnoses it when it is outside the noise. The error says that it cannot be judged: got does not
// hold as many elements as its shape says, or the oracle does not reproduce PyTorch's result.
func Judge(c *fixture.Case, shape []int, got []float64) (report.Result, error) {
	if n, err := attention.Size(shape); err != nil || n != len(got) {
		return report.Result{}, fmt.Errorf("%s: an output of shape %s and %d elements", c.Name, attention.FormatShape(shape), len(got))
	}
	problem := oracle.FromCase(c)
	truth := expected(problem)
	if err := reproduces(truth.Value, c.Truth); err != nil {
		return report.Result{}, fmt.Errorf("%s: %w", c.Name, err)
	}
	truth.Value = c.Truth
	comparison := compare.Outputs(shape, got, truth)
	r := report.Result{
		Case: c.Name, Purpose: c.Purpose, Verdict: report.Pass,
		Comparison: comparison,
		PyTorch:    compare.Outputs(c.Output.Shape, c.Output.Float64s(), truth),
		Diagnosis:  diagnose.Diagnose(problem, truth, got, comparison),
	}
	if !comparison.OK() {
		r.Verdict = report.Fail
	}
	return r, nil
}

func expected(p *oracle.Problem) compare.Expected {
	f := p.Run()
	return compare.Expected{Shape: f.Shape, Value: f.Value, Sigma: f.Sigma()}
}

// reproduces compares the oracle's values with PyTorch's float64 result.
func reproduces(got, want []float64) error {
	largest, worst := 0.0, 0.0
	for i, w := range want {
		if math.IsNaN(w) && math.IsNaN(got[i]) {
			continue
		}
		largest = math.Max(largest, math.Abs(w))
		worst = math.Max(worst, math.Abs(got[i]-w))
	}
	if !(worst <= reproduction*largest) {
		return fmt.Errorf("the oracle differs from PyTorch's float64 result by %.2g of its largest value, want at most %.0e", worst/largest, reproduction)
	}
	return nil
}

// Sight is what a case can say of the known mistakes.
type Sight struct {
	Seen   []diagnose.Mistake // their output is outside the noise
	Blind  []diagnose.Mistake // their output is within it
	Absent []diagnose.Mistake // the case has nothing to get wrong so
}

// Sees makes every known mistake on a case.
func Sees(c *fixture.Case) Sight {
	problem := oracle.FromCase(c)
	var s Sight
	s.Seen, s.Blind, s.Absent = diagnose.Sees(problem, expected(problem))
	return s
}
