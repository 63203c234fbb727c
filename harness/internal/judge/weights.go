package judge

import (
	"fmt"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Weights compares attention weights of a case that has them with PyTorch's float64 ones. It
// returns a finding if they are outside the noise of the given precision. The errors are as
// [New]'s.
func Weights(c *fixture.Case, lower oracle.Precision, shape []int, got []float64) (findings []string, err error) {
	if err := complete(c, shape, got); err != nil {
		return nil, err
	}
	problem := oracle.FromCase(c)
	weights := expectedWeights(c, problem.In(lower).Weights())
	double := func() ([]float64, error) {
		return inDouble(expectedWeights(c, problem.InDouble().Weights()).Sigma), nil
	}
	if err := reproduces(weights.Value, c.WeightsTruth, double); err != nil {
		return nil, fmt.Errorf("%s: weights: %w", c.Name, err)
	}
	weights.Value = c.WeightsTruth
	compared := compare.Outputs(shape, got, weights)
	switch {
	case !compared.SameShape():
		return []string{fmt.Sprintf("the attention weights have shape %s, want %s",
			attention.FormatShape(shape), attention.FormatShape(weights.Shape))}, nil
	case !compared.OK():
		return []string{outside(compared)}, nil
	}
	return nil, nil
}

func outside(c compare.Comparison) string {
	return fmt.Sprintf("the attention weights are outside the noise: max z %.3g (at most %g), "+
		"rms z %.3g (at most %.1f), rel %.3g, gain %.3g; worst %s got %.8g want %.8g",
		c.MaxZ, c.Limits.Z, c.RMSZ, c.Limits.RMS, c.Rel, c.Gain, c.Worst.Place(), c.Worst.Got, c.Worst.Want)
}

// expectedWeights returns the weights as the layer shows them: for every head, (B, H, L, S), or
// their mean over the heads, (B, L, S).
func expectedWeights(c *fixture.Case, perHead oracle.Field) compare.Expected {
	if c.Layer.NeedWeights == attention.AveragedWeights {
		perHead = perHead.MeanOfHeads()
	}
	return compare.Expected{Shape: c.Weights.Shape, Value: perHead.Value, Sigma: perHead.Sigma()}
}
