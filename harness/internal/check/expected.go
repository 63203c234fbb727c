package check

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
	"github.com/difftest/difftest/harness/internal/trace"
)

// expectedOutputs knows the expected outputs of all cases of a suite. It reads the shapes of the
// suite, and the cases of a shape, when a failure first asks. Several goroutines may ask.
type expectedOutputs struct {
	suite fs.FS
	all   func() []expectedOutput
}

// expectedOutput is PyTorch's result of one case.
type expectedOutput struct {
	name  string
	shape []int
	read  func() compare.Expected // without a shape if the case is broken
}

func newExpectedOutputs(suite fs.FS) *expectedOutputs {
	return &expectedOutputs{suite: suite, all: sync.OnceValue(func() []expectedOutput {
		names, _ := fixture.Names(suite) // broken cases are reported where they are judged
		var all []expectedOutput
		for _, name := range names {
			if shape, err := fixture.OutputShape(suite, name); err == nil {
				read := sync.OnceValue(func() compare.Expected { return expectedOf(suite, name) })
				all = append(all, expectedOutput{name, shape, read})
			}
		}
		return all
	})}
}

func expectedOf(suite fs.FS, name string) compare.Expected {
	c, err := fixture.Read(suite, name)
	if err != nil {
		return compare.Expected{}
	}
	expected := compare.Expected{Shape: c.Output.Shape, Value: c.Truth}
	return expected.WithPadding(c.PaddedRows(c.Output.Shape))
}

// near reports whether an output is about the expected one.
func (e expectedOutput) near(shape []int, got []float64) bool {
	if !slices.Equal(e.shape, shape) {
		return false
	}
	want := e.read()
	return slices.Equal(want.Shape, shape) && compare.Residual(want.Blank(got), want.Value) <= compare.MaxResidual
}

// fewestElements is how many elements an output needs to be taken for another case's. Fewer may
// agree by chance.
const fewestElements = 8

// name says of an output that fails without a name that it is the expected output of another case,
// if it is.
func (e *expectedOutputs) name(
	ctx context.Context, r report.Result, declared subject.Precision, shape []int, got []float64,
) report.Result {
	named := len(r.Diagnosis.Matches) > 0 || len(r.Diagnosis.Numbers) > 0
	if !r.Wrong() || named || len(got) < fewestElements || ctx.Err() != nil {
		return r
	}
	var cases []string
	for _, other := range e.all() {
		if other.name != r.Case && other.near(shape, got) && e.right(ctx, other.name, declared, shape, got) {
			cases = append(cases, other.name)
		}
	}
	if len(cases) == 0 {
		return r
	}
	title := "it is the expected output of " + strings.Join(cases, " and ")
	r.Proven = append(slices.Clone(r.Proven), report.Proof{ID: report.AnotherCase, Title: title})
	d := &r.Diagnosis
	d.Reasons = append([]string{title + ": look for outputs or inputs of the two that were exchanged"}, d.Reasons...)
	d.Unexplained = false
	return r
}

// right reports whether an output of the declared precision passes in a case.
func (e *expectedOutputs) right(
	ctx context.Context, name string, declared subject.Precision, shape []int, got []float64,
) bool {
	c, err := fixture.Read(e.suite, name)
	if err != nil {
		return false
	}
	referee, err := judge.New(ctx, c, judge.Arithmetic(declared))
	if err != nil {
		return false
	}
	r, err := referee.Compare(shape, got)
	return err == nil && r.Right()
}

// Output judges one output of a case of a suite that was made elsewhere, in the declared precision.
// modules holds the outputs of modules inside a model as PATH.npy; it is nil without any. The
// errors are [judge.TracedOutputs]'s, or say which module cannot be read.
func Output(
	ctx context.Context, suite fs.FS, c *fixture.Case, declared subject.Precision, output oracle.Array, modules fs.FS,
) (report.Result, error) {
	var inside map[string]*trace.Array
	if modules != nil {
		var err error
		if inside, err = readModules(modules, "."); err != nil {
			return report.Result{}, err
		}
	}
	r, err := judge.TracedOutputs(ctx, c, declared, &output, nil, inside)
	if err != nil {
		return r, err
	}
	return newExpectedOutputs(suite).name(ctx, r, declared, output.Shape, output.Value), nil
}
