package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Check runs a subject on the cases of a suite, or on the named ones only, and returns what it
// found. The error says that the check could not be carried out in full: a case is broken (the
// report lists it and holds the others), a name is unknown, ctx ended (the report holds what was
// judged by then). A wrong subject is no error.
//
// The subject is called from one goroutine, case by case in their order, unless it says that it runs several
// cases at once; its outputs are judged on all processors meanwhile.
func Check(ctx context.Context, suite fs.FS, s Runner, cases ...string) (*Report, error) {
	about := s.About()
	names, suiteErr := fixture.Names(suite)
	if suiteErr != nil && len(names) == 0 {
		return nil, suiteErr
	}
	if err := errors.Join(about.Precision.Check(), checkKnown(about.Known, names), checkNames("case", cases, names)); err != nil {
		return nil, err
	}
	r := &Report{Subject: about.Name, Precision: string(about.Precision)}
	if suiteErr != nil {
		r.Broken = append(r.Broken, report.Broken{Case: "(suite)", Err: suiteErr.Error()})
	}
	selected := names
	if len(cases) > 0 {
		selected = cases
	}
	rerun := &rerun{live: s}
	err := judgeAll(ctx, r, suite, selected, about.Jobs, rerun, func(c *fixture.Case) judgement {
		ran := s.Run(ctx, c)
		if err := ctx.Err(); err != nil && errors.Is(ran.Err, err) {
			return nil
		}
		rerun.keep(c, ran)
		return func(ctx context.Context) (report.Result, error) { return judgeRun(ctx, about, c, ran) }
	})
	return r, errors.Join(err, Acknowledge(r, about.Known, names))
}

// judgement gives the verdict on what has been taken of a subject. It may run beside others. nil: nothing has
// been taken, because ctx ended.
type judgement func(context.Context) (report.Result, error)

// outcome is a case, and the verdict on it or why there is none.
type outcome struct {
	c      *fixture.Case
	result report.Result
	err    error
}

// judgeAll adds cases to a report, in their order: take gets them one after another, or as many at once as there
// are jobs, and what it returns is called on all processors. Failures are run again in the end, where there is
// something to run.
func judgeAll(ctx context.Context, r *Report, suite fs.FS, names []string, jobs int, again *rerun, take func(*fixture.Case) judgement) error {
	all, queue := make([]outcome, len(names)), make(chan int, len(names))
	for i := range names {
		queue <- i
	}
	close(queue)
	var takers, judges errgroup.Group
	judges.SetLimit(runtime.GOMAXPROCS(0))
	takeAll := func() error {
		for i := range queue {
			all[i].from(ctx, suite, names[i], take, &judges)
		}
		return nil
	}
	for range jobs - 1 {
		takers.Go(takeAll)
	}
	_ = takeAll()
	_ = takers.Wait() // each case keeps its own error
	_ = judges.Wait()
	again.failures(ctx, all, jobs)
	return gather(ctx, r, names, all)
}

// from takes a case and has it judged, unless ctx has ended.
func (one *outcome) from(ctx context.Context, suite fs.FS, name string, take func(*fixture.Case) judgement, judges *errgroup.Group) {
	if ctx.Err() != nil {
		return
	}
	c, err := fixture.Read(suite, name)
	if err != nil {
		one.err = err
		return
	}
	judge := take(c)
	if judge == nil {
		return
	}
	one.c = c
	judges.Go(func() error {
		one.result, one.err = judge(diagnose.Within(ctx, name))
		if one.err != nil && ctx.Err() != nil {
			one.c, one.err = nil, nil // it was not judged
		}
		return nil
	})
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
	r.Causes = causes(ctx, r, read)
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
func runCase(ctx context.Context, s Runner, c *fixture.Case) (report.Result, error) {
	about, ran := s.About(), s.Run(ctx, c)
	r, err := judgeRun(ctx, about, c, ran)
	if err == nil {
		r = withProbes(ctx, s, c, ran, r)
	}
	return acknowledged(about.Known, r), err
}

// judgeRun gives the verdict on what a subject did on a case.
func judgeRun(ctx context.Context, about subject.About, c *fixture.Case, ran subject.Result) (report.Result, error) {
	judged := declared{about.Precision}
	if errors.Is(ran.Err, subject.ErrNotRun) {
		return report.Result{}, fmt.Errorf("%s: %w", c.Name, ran.Err)
	}
	if ran.Err != nil {
		r := report.Result{Case: c.Name, Purpose: c.Purpose, Verdict: report.Error, Err: ran.Err.Error()}
		if errors.Is(ran.Err, subject.ErrNotOffered) {
			r.Verdict = report.Skip
		}
		return r, nil
	}
	r, err := judged.output(ctx, c, ran.Output)
	if err != nil {
		return report.Result{}, err
	}
	if c.Weights != nil {
		findings, err := judged.weights(c, ran.Weights)
		if err != nil {
			return report.Result{}, err
		}
		ran.Findings = append(ran.Findings, findings...)
	}
	r.Findings = ran.Findings
	if r, err = withLoad(ctx, judged, c, ran, r); err != nil {
		return report.Result{}, err
	}
	return r, nil
}
