package judge

import (
	"fmt"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// lowerSigma returns the noise that a module has in a lower precision. The error says that the case
// holds no noise of it.
func lowerSigma(c *fixture.Case, lower oracle.Precision) ([]float64, error) {
	const belowFloat16 = 1 + 0x1p-9 // a number of float16, and none of bfloat16
	dtype := fixture.Float16
	if lower.Round(belowFloat16) != belowFloat16 {
		dtype = fixture.BFloat16
	}
	if sigma := c.SigmaIn[dtype]; lower.Stores() && sigma != nil {
		return sigma, nil
	}
	return nil, fmt.Errorf("%s: the case does not hold the noise of the declared precision: capture it again, "+
		"or declare float32", c.Name)
}

// lowerSigmas returns the noise of a module in all lower precisions that the case knows.
func lowerSigmas(c *fixture.Case) map[string][]float64 {
	all := map[string][]float64{}
	for dtype, sigma := range c.SigmaIn {
		all[string(dtype)] = sigma
	}
	return all
}
