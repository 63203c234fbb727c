// Package judge holds one output of a case against PyTorch's float64 result, and asks for the cause
// when the output is wrong.
package judge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/fresh"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/progress"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
	"github.com/difftest/difftest/harness/internal/trace"
)

// Referee judges outputs of one case. The replay of each mistake on the case is computed once for
// all of them. A Referee may be used from several goroutines.
type Referee struct {
	c         *fixture.Case
	expected  compare.Expected     // in the case's order of dimensions
	reference *diagnose.Reference  // in the oracle's order, (B, T, width); nil for a module
	problem   *oracle.Problem      // nil for a module
	module    *replay.Module       // nil unless the case is a module with a graph
	lower     map[string][]float64 // a module's noise in precisions below the declared one
}

// New returns the referee of a case. The error says that the oracle does not reproduce PyTorch's
// float64 result of the case, or that ctx ended before the truth was known.
//
// The oracle computes the noise that rounding gives the output, in the given precision where that
// is lower than the case's. The noise of a module, which the oracle does not know, was measured by
// PyTorch and stands in the case.
func New(ctx context.Context, c *fixture.Case, lower oracle.Precision) (*Referee, error) {
	if c.Op == fixture.Module {
		return newModule(c, lower)
	}
	problem := oracle.FromCase(c).In(lower).Cached()
	progress.Tell(ctx, progress.Update{Stage: "the truth, with its noise"})
	longer, done := grace(ctx)
	defer done()
	f, err := problem.Rows(longer, nil, oracle.WithNoise)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	truth := f.Expected()
	exact := batchFirst(c, oracle.Array{Shape: c.Output.Shape, Value: c.Truth})
	double := func() ([]float64, error) { return doubleSigma(longer, problem) }
	if err := reproduces(truth.Value, exact.Value, double); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	truth.Value = exact.Value
	return newReferee(c, problem, truth), nil
}

// OfOracle returns the referee of a case that has no results yet. The case gets the oracle's result
// as its truth, or the result of its graph. The error says that ctx ended, or that the graph cannot
// be computed.
func OfOracle(ctx context.Context, c *fixture.Case, lower oracle.Precision) (*Referee, error) {
	if c.Op == fixture.Module {
		if lower.Rounds() {
			return nil, fmt.Errorf("%s: the noise of lower precisions is known of captured cases alone: declare float32",
				c.Name)
		}
		if err := setGraphsResult(c); errors.Is(err, ErrTie) {
			return nil, err
		} else if err != nil {
			return nil, fmt.Errorf("%s: graph.json: %w", c.Name, err)
		}
		return newModule(c, lower)
	}
	problem := oracle.FromCase(c).In(lower).Cached()
	f, err := problem.Rows(ctx, nil, oracle.WithNoise)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	fresh.SetResult(c, f)
	return newReferee(c, problem, f.Expected()), nil
}

// ErrTie means that rounding may change a choice in a module, such as the one of experts. A right
// program may give another output than the truth.
var ErrTie = errors.New("a choice is within rounding")

// setGraphsResult gives a module the float64 result of its graph as its truth, and the noise that
// float32 gives to the graph. It returns [ErrTie] after it has done so.
func setGraphsResult(c *fixture.Case) error {
	g, err := graph.Parse(c.Graph)
	if err != nil {
		return err
	}
	given, err := graph.Given[float64](g, c.Given)
	if err != nil {
		return err
	}
	truths, err := graph.Outputs(nil, g, given, append(g.Choices(), g.Output)...)
	if err != nil {
		return err
	}
	sigma, err := graph.NoiseOf(g, c.Given, truths)
	if err != nil {
		return err
	}
	truth := truths[g.Output]
	c.Truth, c.Sigma, c.Output = truth.Data, sigma[g.Output], attention.NewTensor(truth.Shape...)
	for i, v := range truth.Data {
		c.Output.Data[i] = float32(v)
	}
	if g.Tie(truths, sigma) {
		return ErrTie
	}
	return nil
}

// newReferee returns the referee of a problem with its truth, in the oracle's order of dimensions.
func newReferee(c *fixture.Case, problem *oracle.Problem, truth compare.Expected) *Referee {
	reference := diagnose.NewReference(problem, truth).WithPlacements(c.Layer.Placements())
	if c.Op == fixture.MultiHead {
		reference = reference.WithLayout(c.Layer.InputLayout)
	}
	return &Referee{c: c, expected: inLayout(c, truth), reference: reference, problem: problem}
}

// newModule returns the referee of a module. Its noise was measured by PyTorch and stands in the
// case. If the case has a graph, the graph must give the truth.
func newModule(c *fixture.Case, lower oracle.Precision) (*Referee, error) {
	r := &Referee{c: c}
	r.expected = compare.Expected{Shape: c.Output.Shape, Value: c.Truth, Sigma: c.Sigma, Measured: true}
	r.expected = r.expected.WithPadding(c.PaddedRows(c.Output.Shape))
	if err := r.setGraph(); err != nil {
		return nil, fmt.Errorf("%s: graph.json: %w", c.Name, err)
	}
	if !lower.Rounds() {
		r.lower = lowerSigmas(c)
		return r, nil
	}
	if err := r.setLower(lower); err != nil {
		return nil, err
	}
	return r, nil
}

// setGraph reads the graph of a module, if the case has one.
func (r *Referee) setGraph() error {
	if r.c.Graph == nil {
		return nil
	}
	g, err := graph.Parse(r.c.Graph)
	if err != nil {
		return err
	}
	module, err := replay.NewModule(g, r.c.Given, r.expected)
	if err != nil {
		return err
	}
	r.module = module.WithPadding(r.c.PaddedRowsInside)
	return graphReproduces(r.module.Output(), r.expected)
}

// grace returns a context that ends a little after ctx, so that an output that is there already
// still gets its verdict when that is quick.
func grace(ctx context.Context) (longer context.Context, done func()) {
	const little = 100 * time.Millisecond
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(little, cancel) })
	return longer, func() {
		stop()
		cancel()
	}
}

// Without returns a referee that does not know one mistake, as if the catalogue lacked it.
func (r *Referee) Without(id string) *Referee {
	other := *r
	if r.reference != nil {
		other.reference = r.reference.Without(id)
	}
	if r.module != nil {
		other.module = r.module.Without(id)
	}
	return &other
}

// Expected returns the truth and the noise of the case, in the case's order of dimensions.
func (r *Referee) Expected() compare.Expected { return r.expected }

// Knows reports whether the oracle knows the computation, so that mistakes can be made on the case.
func (r *Referee) Knows() bool { return r.reference != nil }

// Judge gives the verdict on an output and, when it fails, its diagnosis. The error says that got
// does not hold as many elements as its shape says. When ctx ends, the diagnosis names what was not
// tried.
func (r *Referee) Judge(ctx context.Context, shape []int, got []float64) (report.Result, error) {
	result, err := r.Compare(shape, got)
	if err != nil {
		return report.Result{}, err
	}
	result.Diagnosis = r.diagnose(ctx, shape, got, result.Comparison)
	if result.Verdict == report.Fail {
		result.Config, result.Parameters = strings.Join(r.c.Configuration(), "\n"), Parameters(r.c)
	}
	if result.Verdict == report.Fail && r.problem != nil {
		for _, m := range r.problem.Masks(report.MaskLimit) {
			result.Masks = append(result.Masks, report.Mask(m))
		}
	}
	return result, nil
}

// Parameters lists the state dict of a case.
func Parameters(c *fixture.Case) []report.Parameter {
	var all []report.Parameter
	for _, key := range slices.Sorted(maps.Keys(c.State)) {
		all = append(all, report.Parameter{Key: key, Shape: c.State[key].Shape})
	}
	return all
}

// Compare gives the verdict of [Referee.Judge] without the diagnosis.
func (r *Referee) Compare(shape []int, got []float64) (report.Result, error) {
	if err := complete(r.c, shape, got); err != nil {
		return report.Result{}, err
	}
	result := report.Result{
		Case: r.c.Name, Purpose: r.c.Purpose, Verdict: report.Pass, Got: got,
		Comparison: compare.Outputs(shape, got, r.expected),
	}
	if r.c.Provenance.Torch != fixture.ByOracle {
		result.PyTorch = compare.Outputs(r.c.Output.Shape, r.c.Output.Float64s(), r.expected)
	}
	if !result.Comparison.OK() {
		result.Verdict, result.Want = report.Fail, r.expected
	}
	return result, nil
}

// diagnose asks for the cause in the oracle's order of dimensions, where a row is the output of one
// query. The comparison was made in the case's order: its distances are brought into the oracle's.
func (r *Referee) diagnose(
	ctx context.Context, shape []int, got []float64, c compare.Comparison,
) diagnose.Diagnosis {
	if r.reference == nil {
		return diagnose.DiagnoseModule(ctx, r.expected, r.lower, r.module, got, c)
	}
	if !c.SameShape() {
		return r.reference.Diagnose(ctx, got, c)
	}
	own := batchFirst(r.c, oracle.Array{Shape: shape, Value: got})
	c.Z = batchFirst(r.c, oracle.Array{Shape: shape, Value: c.Z}).Value
	c.GotShape, c.WantShape = own.Shape, own.Shape
	return r.reference.Diagnose(ctx, own.Value, c)
}

// Trace judges the outputs of modules inside a model, by their paths. It returns nil for nil.
// Nothing is compared if the case has no graph.
func (r *Referee) Trace(ctx context.Context, values map[string]*trace.Array) (*trace.Trace, error) {
	switch {
	case values == nil:
		return nil, nil
	case r.module == nil:
		t := trace.NotCompared(values, "not compared: the case has no graph")
		return &t, nil
	}
	t, err := trace.Judge(ctx, r.module, values)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.c.Name, err)
	}
	return &t, nil
}

// Sees makes every known mistake on the case and returns what the case can see of them. The
// mistakes of a module are edits of its graph. On a module without a graph no mistake can be made,
// and the sight is empty.
func (r *Referee) Sees() replay.Visibility {
	switch {
	case r.module != nil:
		return r.module.Visibility()
	case r.reference == nil:
		return replay.Visibility{}
	}
	return r.reference.Visibility()
}

// complete refuses an output that does not hold as many elements as its shape says.
func complete(c *fixture.Case, shape []int, got []float64) error {
	if n, err := attention.Size(shape); err != nil || n != len(got) {
		return fmt.Errorf("%s: an output of shape %s and %d elements", c.Name, attention.FormatShape(shape), len(got))
	}
	return nil
}

// batchFirst brings a result from the case's order of dimensions into the oracle's.
func batchFirst(c *fixture.Case, a oracle.Array) oracle.Array {
	if c.Op != fixture.MultiHead {
		return a
	}
	return oracle.ToBatchFirst(c.Layer.InputLayout, a)
}

// inLayout brings a result of the oracle into the case's order of dimensions.
func inLayout(c *fixture.Case, e compare.Expected) compare.Expected {
	if c.Op != fixture.MultiHead {
		return e
	}
	value := oracle.FromBatchFirst(c.Layer.InputLayout, oracle.Array{Shape: e.Shape, Value: e.Value})
	sigma := oracle.FromBatchFirst(c.Layer.InputLayout, oracle.Array{Shape: e.Shape, Value: e.Sigma})
	return compare.Expected{Shape: value.Shape, Value: value.Value, Sigma: sigma.Value}
}

// UnwrittenParts returns the sorts of parts that a diagnosis can find to be zeros.
func UnwrittenParts() []diagnose.Unwritten { return diagnose.UnwrittenParts() }

// Outputs judges an output of a case that was made elsewhere, in the declared precision, and the
// attention weights beside it unless they are nil. The errors are [New]'s and [Referee.Judge]'s.
func Outputs(
	ctx context.Context, c *fixture.Case, declared subject.Precision, output, weights *oracle.Array,
) (report.Result, error) {
	return TracedOutputs(ctx, c, declared, output, weights, nil)
}

// TracedOutputs judges as [Outputs] does, and the outputs of modules inside a model, too. The error
// may also be [Referee.Trace]'s.
func TracedOutputs(
	ctx context.Context, c *fixture.Case, declared subject.Precision, output, weights *oracle.Array,
	inside map[string]*trace.Array,
) (report.Result, error) {
	lower := Arithmetic(declared)
	referee, err := New(ctx, c, lower)
	if err != nil {
		return report.Result{}, err
	}
	r, err := referee.Judge(ctx, output.Shape, output.Value)
	if err == nil {
		r.Trace, err = referee.Trace(ctx, inside)
	}
	if err != nil || weights == nil {
		return r, err
	}
	findings, err := Weights(c, lower, weights.Shape, weights.Value)
	if len(findings) > 0 {
		r.Findings, r.Verdict = findings, report.Fail
	}
	return r, err
}
