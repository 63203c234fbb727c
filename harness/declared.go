package harness

import (
	"context"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/report"
	"github.com/difftest/difftest/harness/subject"
)

// declared judges what a subject gives that computes in the precision it declares.
type declared struct{ precision subject.Precision }

func (d declared) output(ctx context.Context, c *fixture.Case, got *attention.Tensor) (report.Result, error) {
	return Judge(ctx, c, got.Shape, got.Float64s())
}

func (d declared) weights(c *fixture.Case, got *attention.Tensor) (findings []string, err error) {
	return JudgeWeights(c, got.Shape, got.Float64s())
}
