package judge

import (
	"fmt"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// setLower gives a module the noise of the precision that its subject declares.
func (r *Referee) setLower(lower oracle.Precision) error {
	sigma, err := r.lowerSigma(lower)
	if err != nil {
		return err
	}
	r.expected.Sigma = sigma
	r.expected = r.expected.WithPadding(r.c.PaddedRows(r.c.Output.Shape))
	if r.module != nil {
		r.module = r.module.InLowerPrecision(r.expected.Sigma)
	}
	return nil
}

// lowerSigma returns the noise that a module has in a lower precision. PyTorch measured the noise
// of types that hold every result. Where products alone round, the graph measures it. The error
// says that the noise is not known.
func (r *Referee) lowerSigma(lower oracle.Precision) ([]float64, error) {
	if lower.RoundsFactors() {
		if r.module == nil {
			return nil, fmt.Errorf("%s: the noise of the declared precision is not known, because the case has no graph: "+
				"declare float32", r.c.Name)
		}
		return r.module.NoiseOfFactors(lower.Round)
	}
	const belowFloat16 = 1 + 0x1p-9 // a number of float16, and none of bfloat16
	dtype := fixture.Float16
	if lower.Round(belowFloat16) != belowFloat16 {
		dtype = fixture.BFloat16
	}
	if sigma := r.c.SigmaIn[dtype]; lower.Stores() && sigma != nil {
		return sigma, nil
	}
	return nil, fmt.Errorf("%s: the case does not hold the noise of the declared precision: capture it again, "+
		"or declare float32", r.c.Name)
}

// lowerSigmas returns the noise of a module in all lower precisions that the case knows.
func lowerSigmas(c *fixture.Case) map[string][]float64 {
	all := map[string][]float64{}
	for dtype, sigma := range c.SigmaIn {
		all[string(dtype)] = sigma
	}
	return all
}
