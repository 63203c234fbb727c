// Package check runs a subject on the cases of a suite, or reads its outputs from a folder. The
// outputs are judged, the subject runs again on the cases that it fails, and the failures are
// explained together.
package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/printable"
	"github.com/difftest/difftest/harness/internal/protocol"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Check runs a subject on the cases of a suite, or on the named ones only. The error says that the
// check could not be carried out in full: a case is broken (the report lists it and holds the
// others), a name is unknown, or ctx ended (the report holds what was judged by then). A wrong
// subject is no error.
//
// One goroutine calls the subject, case by case in their order, unless the subject declares that it
// runs several cases at once. Its outputs are judged on all processors meanwhile.
func Check(ctx context.Context, suite fs.FS, s subject.Runner, cases ...string) (*report.Report, error) {
	about := s.About()
	names, suiteErr := fixture.Names(suite)
	if suiteErr != nil && len(names) == 0 {
		return nil, suiteErr
	}
	if err := errors.Join(about.Precision.Check(), fixture.CheckNames(cases, names)); err != nil {
		return nil, err
	}
	r := &report.Report{Subject: about.Name, Precision: string(about.Precision)}
	r.Broken = brokenSuite(suiteErr)
	expected := newExpectedOutputs(suite)
	return r, work{
		jobs: about.Jobs,
		take: func(ctx context.Context, c *fixture.Case) (subject.Result, bool) {
			ran := s.Run(ctx, c)
			return ran, ctx.Err() == nil || !errors.Is(ran.Err, ctx.Err())
		},
		judge: func(ctx context.Context, t *turn) (report.Result, error) {
			t.declared = t.ran.Precision
			r, err := judgeRun(ctx, about, t.c, t.ran)
			if err != nil || t.ran.Output == nil {
				return r, err
			}
			precision, err := onePrecision(about.Precision, t.declared)
			return expected.name(ctx, r, precision, t.ran.Output.Shape, r.Got), err
		},
		again: func(ctx context.Context, t *turn) report.Result {
			return probed(ctx, s, t.c, t.ran, t.result)
		},
	}.on(ctx, r, suite, chosen(cases, names))
}

// Case runs a subject on one case, gives the verdict, and runs it again if it fails.
func Case(ctx context.Context, s subject.Runner, c *fixture.Case) (report.Result, error) {
	about, ran := s.About(), s.Run(ctx, c)
	r, err := judgeRun(ctx, about, c, ran)
	if err != nil {
		return r, err
	}
	return probed(ctx, s, c, ran, r), nil
}

// judgeRun gives the verdict on a subject's run of a case.
func judgeRun(ctx context.Context, about subject.About, c *fixture.Case, ran subject.Result) (report.Result, error) {
	if errors.Is(ran.Err, subject.ErrNotRun) {
		return report.Result{}, fmt.Errorf("%s: %w", c.Name, ran.Err)
	}
	if ran.Err != nil {
		return withoutOutput(c, ran.Err), nil
	}
	declared, err := onePrecision(about.Precision, ran.Precision)
	if err != nil {
		return report.Result{}, fmt.Errorf("%s: %s: %w", c.Name, protocol.ReplyFile, err)
	}
	lower := judge.Arithmetic(declared)
	referee, err := judge.New(ctx, c, lower)
	if err != nil {
		return report.Result{}, err
	}
	r, err := referee.Judge(ctx, ran.Output.Shape, ran.Output.Float64s())
	if err != nil {
		return report.Result{}, err
	}
	if r.Trace, err = referee.Trace(ctx, valuesOf(ran.Trace)); err != nil {
		return report.Result{}, err
	}
	r.Findings = ran.Findings
	if c.Weights != nil {
		findings, err := judge.Weights(c, lower, ran.Weights.Shape, ran.Weights.Float64s())
		if err != nil {
			return report.Result{}, err
		}
		r.Findings = append(r.Findings, findings...)
	}
	return withLoad(ctx, lower, c, ran, r)
}

// withoutOutput is the result of a case that the subject skips, refuses or crashes on.
func withoutOutput(c *fixture.Case, err error) report.Result {
	r := report.Result{Case: c.Name, Purpose: c.Purpose, Verdict: report.Error, Err: printable.Message(err.Error())}
	if errors.Is(err, subject.ErrNotOffered) {
		r.Verdict = report.Skip
	}
	return r
}

// chosen returns the named cases, or all of them if none is named.
func chosen(cases, all []string) []string {
	if len(cases) > 0 {
		return cases
	}
	return all
}

func brokenSuite(err error) []report.Broken {
	if err == nil {
		return nil
	}
	return []report.Broken{{Case: "(suite)", Err: printable.Message(err.Error())}}
}
