package harness

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
)

// reproduction is how closely the oracle must agree with PyTorch's float64 result before it may
// judge a case, relative to the largest value: some thousand roundings of a float64.
const reproduction = 1e-12

// Judge compares an output of a case, wherever it was made, with PyTorch's float64 result and
// diagnoses it when it is outside the noise. The error says that it cannot be judged: got does not
// hold as many elements as its shape says, the oracle does not reproduce PyTorch's result, or ctx ended
// before the truth was known. When it ends later, the diagnosis says what was not tried.
//
// The noise is computed by the oracle. That of a module, which the oracle does not know, was
// measured by PyTorch and stands in the case.
func Judge(ctx context.Context, c *fixture.Case, shape []int, got []float64) (report.Result, error) {
	r, err := newRefereeIn(ctx, c, oracle.Precision{})
	if err != nil {
		return report.Result{}, err
	}
	return r.Judge(ctx, shape, got)
}

// Compare gives the verdict of [Judge] without the diagnosis.
func Compare(c *fixture.Case, shape []int, got []float64) (report.Result, error) {
	r, err := NewReferee(c)
	if err != nil {
		return report.Result{}, err
	}
	return r.compare(shape, got)
}

// Referee judges many outputs of one case as [Judge] does one: what every mistake makes of the case is worked
// out once. It may be used from several goroutines.
type Referee struct {
	c         *fixture.Case
	shown     compare.Expected    // in the order of the case
	truth     compare.Expected    // in the order (B, T, width) of the oracle
	reference *diagnose.Reference // nil for a module
}

// NewReferee fails where [Judge] does.
func NewReferee(c *fixture.Case) (*Referee, error) {
	return newRefereeIn(context.Background(), c, oracle.Precision{})
}

// newRefereeIn allows the noise of a lower precision than that of the case. That of a module, which was measured,
// stays what it is.
func newRefereeIn(ctx context.Context, c *fixture.Case, lower oracle.Precision) (*Referee, error) {
	if c.Op == fixture.Module {
		return &Referee{c: c, shown: compare.Expected{Shape: c.Output.Shape, Value: c.Truth, Sigma: c.Sigma, Measured: true}}, nil
	}
	problem := oracle.FromCase(c).In(lower).Cached()
	diagnose.Progress{Stage: "the truth, with its noise"}.Tell(ctx)
	soon, done := outlived(ctx)
	defer done()
	f, err := problem.Rows(soon, nil, oracle.WithNoise)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	truth := compare.Expected{Shape: f.Shape, Value: f.Value, Sigma: f.Sigma()}
	exact := inBatchFirst(c, oracle.Array{Shape: c.Output.Shape, Value: c.Truth})
	if err := reproduces(truth.Value, exact.Value); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	truth.Value = exact.Value
	return &Referee{c, inOrder(c, truth), truth, diagnose.NewReference(problem, truth).Named(parametersOf(c.Layer))}, nil
}

// outlived is a context that ends a little after another: an output that is there already gets a verdict, if
// that takes no longer.
func outlived(ctx context.Context) (longer context.Context, done func()) {
	const little = 100 * time.Millisecond
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(little, cancel) })
	return longer, func() {
		stop()
		cancel()
	}
}

// Without is a referee that does not know a mistake, as if the catalogue lacked it.
func (r *Referee) Without(id string) *Referee {
	other := *r
	if r.reference != nil {
		other.reference = r.reference.Without(id)
	}
	return &other
}

// Judge is [Judge] of the referee's case.
func (r *Referee) Judge(ctx context.Context, shape []int, got []float64) (report.Result, error) {
	result, err := r.compare(shape, got)
	if err != nil {
		return report.Result{}, err
	}
	result.Diagnosis = r.diagnose(ctx, shape, got, result.Comparison)
	return result, nil
}

// compare gives the verdict without its cause.
func (r *Referee) compare(shape []int, got []float64) (report.Result, error) {
	if err := whole(r.c, shape, got); err != nil {
		return report.Result{}, err
	}
	result := report.Result{
		Case: r.c.Name, Purpose: r.c.Purpose, Verdict: report.Pass,
		Comparison: compare.Outputs(shape, got, r.shown),
		PyTorch:    compare.Outputs(r.c.Output.Shape, r.c.Output.Float64s(), r.shown),
	}
	if !result.Comparison.OK() {
		result.Verdict = report.Fail
	}
	return result, nil
}

// diagnose works in the oracle's order, in which a row is the output of one query. The places of
// the comparison are in the order of the case.
func (r *Referee) diagnose(ctx context.Context, shape []int, got []float64, c compare.Comparison) diagnose.Diagnosis {
	if r.reference == nil {
		return diagnose.DiagnoseUnknown(r.shown, got, c)
	}
	if !c.SameShape() {
		return r.reference.Diagnose(ctx, got, c)
	}
	own := inBatchFirst(r.c, oracle.Array{Shape: shape, Value: got})
	return r.reference.Diagnose(ctx, own.Value, compare.Outputs(own.Shape, own.Value, r.truth))
}

// whole wants as many elements as a shape says.
func whole(c *fixture.Case, shape []int, got []float64) error {
	if n, err := attention.Size(shape); err != nil || n != len(got) {
		return fmt.Errorf("%s: an output of shape %s and %d elements", c.Name, attention.FormatShape(shape), len(got))
	}
	return nil
}

// JudgeWeights compares attention weights of a case that has them with PyTorch's float64 ones, and
// finds fault with those outside the noise. The error is as that of [Judge].
func JudgeWeights(c *fixture.Case, shape []int, got []float64) (findings []string, err error) {
	return judgeWeightsIn(c, oracle.Precision{}, shape, got)
}

func judgeWeightsIn(c *fixture.Case, lower oracle.Precision, shape []int, got []float64) (findings []string, err error) {
	if err := whole(c, shape, got); err != nil {
		return nil, err
	}
	weights := expectedWeights(c, oracle.FromCase(c).In(lower).Weights())
	if err := reproduces(weights.Value, c.WeightsTruth); err != nil {
		return nil, fmt.Errorf("%s: weights: %w", c.Name, err)
	}
	weights.Value = c.WeightsTruth
	compared := compare.Outputs(shape, got, weights)
	switch {
	case !compared.SameShape():
		return []string{fmt.Sprintf("the attention weights have shape %s, want %s",
			attention.FormatShape(shape), attention.FormatShape(weights.Shape))}, nil
	case !compared.OK():
		w := compared.Worst
		return []string{fmt.Sprintf("the attention weights are outside the noise: max z %.3g (at most %g), rms z %.3g (at most %.1f), rel %.3g, gain %.3g; worst %s got %.8g want %.8g",
			compared.MaxZ, compared.Limits.Z, compared.RMSZ, compared.Limits.RMS, compared.Rel, compared.Gain, w.Place(), w.Got, w.Want)}, nil
	}
	return nil, nil
}

// expectedWeights are those of every head, (B, H, L, S), as the layer shows them.
func expectedWeights(c *fixture.Case, perHead oracle.Field) compare.Expected {
	if c.Layer.NeedWeights == attention.AveragedWeights {
		perHead = perHead.MeanOfHeads()
	}
	return compare.Expected{Shape: c.Weights.Shape, Value: perHead.Value, Sigma: perHead.Sigma()}
}

// inBatchFirst brings a result of a case into the order in which the oracle computes.
func inBatchFirst(c *fixture.Case, a oracle.Array) oracle.Array {
	if c.Op == fixture.SDPA {
		return a
	}
	return oracle.ToBatchFirst(c.Layer.InputLayout, a)
}

// inOrder brings what the oracle computed into the order of the case.
func inOrder(c *fixture.Case, e compare.Expected) compare.Expected {
	if c.Op == fixture.SDPA {
		return e
	}
	value := oracle.FromBatchFirst(c.Layer.InputLayout, oracle.Array{Shape: e.Shape, Value: e.Value})
	sigma := oracle.FromBatchFirst(c.Layer.InputLayout, oracle.Array{Shape: e.Shape, Value: e.Sigma})
	return compare.Expected{Shape: value.Shape, Value: value.Value, Sigma: sigma.Value}
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

// Sees makes every known mistake on a case. On a module, which the oracle does not know, none can be
// made, and the sight is empty. The error is as that of [Judge].
func Sees(c *fixture.Case) (diagnose.Sight, error) {
	r, err := NewReferee(c)
	if err != nil || r.reference == nil {
		return diagnose.Sight{}, err
	}
	return r.reference.Sight(), nil
}
