package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/report"
	"github.com/difftest/difftest/harness/subject"
)

// Check runs a subject on the cases of a suite, or on the named ones only, and returns what it
// found. The error says that the check could not be carried out in full: a case is broken (the
// report lists it and holds the others), a name is unknown, ctx ended (the report holds what was
// judged by then). A wrong subject is no error.
//
// The subject is called from one goroutine, case by case in their order; its outputs are judged on all
// processors meanwhile.
func Check(ctx context.Context, suite fs.FS, s Subject, cases ...string) (*Report, error) {
	names, suiteErr := fixture.Names(suite)
	if suiteErr != nil && len(names) == 0 {
		return nil, suiteErr
	}
	if err := errors.Join(checkKnown(s.Known, names), checkNames("case", cases, names)); err != nil {
		return nil, err
	}
	r := &Report{Subject: s.Name}
	if suiteErr != nil {
		r.Broken = append(r.Broken, report.Broken{Case: "(suite)", Err: suiteErr.Error()})
	}
	selected := names
	if len(cases) > 0 {
		selected = cases
	}
	err := judgeAll(ctx, r, suite, selected, func(c *fixture.Case) judgement {
		ran := s.Run(c)
		return func(ctx context.Context) (report.Result, error) { return judgeRun(ctx, c, ran) }
	})
	return r, errors.Join(err, Acknowledge(r, s.Known, names))
}

// judgement gives the verdict on what has been taken of a subject. It may run beside others.
type judgement func(context.Context) (report.Result, error)

// outcome is a case, and the verdict on it or why there is none.
type outcome struct {
	c      *fixture.Case
	result report.Result
	err    error
}

// judgeAll adds cases to a report, in their order: take gets them one after another, and what it
// returns is called on all processors.
func judgeAll(ctx context.Context, r *Report, suite fs.FS, names []string, take func(*fixture.Case) judgement) error {
	all := make([]outcome, len(names))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range names {
		if ctx.Err() != nil {
			break
		}
		one := &all[i]
		if one.c, one.err = fixture.Read(suite, name); one.err != nil {
			continue
		}
		judge := take(one.c)
		group.Go(func() error {
			one.result, one.err = judge(ctx)
			return nil
		})
	}
	_ = group.Wait() // each case keeps its own error
	return gather(ctx, r, names, all)
}

// gather puts the cases into the report and looks for what they have in common.
func gather(ctx context.Context, r *Report, names []string, all []outcome) error {
	read, done := map[string]*fixture.Case{}, 0
	for i, one := range all {
		switch {
		case one.err != nil:
			r.Broken = append(r.Broken, report.Broken{Case: names[i], Err: one.err.Error()})
		case one.c != nil:
			r.Results = append(r.Results, one.result)
			r.AddSource(one.c.Provenance.Source())
			read[names[i]] = one.c
		default:
			continue // ctx ended before its turn
		}
		done++
	}
	if err := ctx.Err(); err != nil {
		return errors.Join(fmt.Errorf("%w after %d of %d cases", err, done, len(names)), brokenError(r.Broken))
	}
	r.Causes = causes(ctx, r.Results, read)
	return brokenError(r.Broken)
}

// checkNames refuses names that no case has: a typing mistake must not select nothing.
func checkNames(what string, names, cases []string) error {
	var errs []error
	for _, name := range names {
		if !slices.Contains(cases, name) {
			errs = append(errs, fmt.Errorf("%s %q: the suite has no such case", what, name))
		}
	}
	return errors.Join(errs...)
}

func brokenError(broken []report.Broken) error {
	var errs []error
	for _, b := range broken {
		errs = append(errs, errors.New(b.Err))
	}
	return errors.Join(errs...)
}

// runCase runs a subject on one case and gives the verdict.
func runCase(ctx context.Context, s Subject, c *fixture.Case) (report.Result, error) {
	r, err := judgeRun(ctx, c, s.Run(c))
	return acknowledged(s.Known, r), err
}

// judgeRun gives the verdict on what a subject did on a case.
func judgeRun(ctx context.Context, c *fixture.Case, ran subject.Result) (report.Result, error) {
	if ran.Err != nil {
		r := report.Result{Case: c.Name, Purpose: c.Purpose, Verdict: report.Error, Err: ran.Err.Error()}
		if errors.Is(ran.Err, subject.ErrNotOffered) {
			r.Verdict = report.Skip
		}
		return r, nil
	}
	r, err := Judge(ctx, c, ran.Output.Shape, ran.Output.Float64s())
	if err != nil {
		return report.Result{}, err
	}
	if len(ran.Findings) > 0 {
		r.Findings, r.Verdict = ran.Findings, report.Fail
	}
	if c.Weights != nil {
		if err := addWeights(&r, c, ran.Weights.Shape, ran.Weights.Float64s()); err != nil {
			return report.Result{}, err
		}
	}
	return r, nil
}

// addWeights adds to a result what is wrong with the attention weights.
func addWeights(r *report.Result, c *fixture.Case, shape []int, got []float64) error {
	findings, err := JudgeWeights(c, shape, got)
	if len(findings) > 0 {
		r.Findings, r.Verdict = append(r.Findings, findings...), report.Fail
	}
	return err
}
