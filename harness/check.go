package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/known"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Check runs an implementation on the cases of a suite and returns the report. A wrong
// implementation is no error. The error says that the check could not be carried out in full: a
// case is broken (the report names it and holds the others), an option is wrong, a [Command] cannot
// be started, or ctx ended (the report holds what was judged by then).
//
// One goroutine calls a [Subject], case by case in their order.
func Check(ctx context.Context, suite fs.FS, r Runner, o ...Option) (*Report, error) {
	chosen, err := choose(suite, o)
	if err != nil {
		return nil, err
	}
	if len(chosen.selected) == 0 { // of a shard
		return newReport(&report.Report{}), nil
	}
	running, end, err := r.start(ctx)
	if err != nil {
		return nil, err
	}
	full, err := check.Check(ctx, suite, running, chosen.selected...)
	return chosen.report(full, errors.Join(err, end()))
}

// CheckFolder judges outputs that were made elsewhere: DIR/CASE/output.npy for each case, and
// DIR/CASE/weights.npy beside it if the case has attention weights. A case without an output is
// skipped. The error is as [Check]'s; an output that cannot be read is broken.
//
// The noise is float32's unless [Declare], or DIR/CASE/reply.json, declares another arithmetic.
func CheckFolder(ctx context.Context, suite, outputs fs.FS, o ...Option) (*Report, error) {
	chosen, err := choose(suite, o)
	if err != nil {
		return nil, err
	}
	if len(chosen.selected) == 0 { // of a shard
		return newReport(&report.Report{}), nil
	}
	full, err := check.Folder(ctx, suite, outputs, subject.Precision(chosen.declared), chosen.selected...)
	return chosen.report(full, err)
}

// report gives expected failures their verdict and makes the public report.
func (s selection) report(full *report.Report, err error) (*Report, error) {
	if full == nil {
		return nil, err
	}
	full, listErr := known.Acknowledge(full, s.known, s.all)
	return newReport(full), errors.Join(err, listErr)
}

// Judge compares an output of a case with PyTorch's float64 result, and diagnoses the output if it
// is outside the noise. The error says that the output cannot be judged: it is no tensor, the
// oracle does not reproduce PyTorch's result of the case, or ctx ended before the truth was known.
// When ctx ends later, the diagnosis says what was not tried.
func Judge(ctx context.Context, c Case, output *attention.Tensor) (Result, error) {
	if c.c == nil {
		return Result{}, errors.New("judge: the case is empty; ReadCase makes one")
	}
	if err := output.Check(); err != nil {
		return Result{}, fmt.Errorf("%s: output: %w", c.Name, err)
	}
	own := oracle.Array{Shape: output.Shape, Value: output.Float64s()}
	r, err := judge.Outputs(ctx, c.c, subject.Float32, &own, nil)
	if err != nil {
		return Result{}, err
	}
	return newResult(r), nil
}
