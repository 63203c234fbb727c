package harness

import (
	"context"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// declared judges what a subject gives that computes in the precision it declares: by the noise of that
// arithmetic, in the same way and with the same limits.
type declared struct{ precision subject.Precision }

// arithmetics are those that can be declared; the zero value is that of the case.
var arithmetics = map[subject.Precision]oracle.Precision{
	subject.Float16: oracle.Float16, subject.BFloat16: oracle.BFloat16, subject.TF32: oracle.TensorFloat32,
}

func (d declared) output(ctx context.Context, c *fixture.Case, got *attention.Tensor) (report.Result, error) {
	r, err := newRefereeIn(ctx, c, arithmetics[d.precision])
	if err != nil {
		return report.Result{}, err
	}
	return r.Judge(ctx, got.Shape, got.Float64s())
}

func (d declared) weights(c *fixture.Case, got *attention.Tensor) (findings []string, err error) {
	return judgeWeightsIn(c, arithmetics[d.precision], got.Shape, got.Float64s())
}
