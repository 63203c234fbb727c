package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/report"
	"github.com/difftest/difftest/harness/subject"
)

// Check runs a subject on the cases of a suite, or on the named ones only, and returns what it
// found. The error says that the check could not be carried out in full: a case is broken (the
// report lists it and holds the others), a name is unknown, ctx ended. A wrong subject is no error.
// The report is the same however many cases the subject runs at once.
func Check(ctx context.Context, suite fs.FS, s Runner, cases ...string) (*Report, error) {
	about := s.About()
	names, suiteErr := fixture.Names(suite)
	if suiteErr != nil && len(names) == 0 {
		return nil, suiteErr
	}
	if err := errors.Join(checkKnown(about.Known, names), checkNames("case", cases, names)); err != nil {
		return nil, err
	}
	r := &Report{Subject: about.Name, Precision: string(about.Precision)}
	if suiteErr != nil {
		r.Broken = append(r.Broken, report.Broken{Case: "(suite)", Err: suiteErr.Error()})
	}
	if len(cases) > 0 {
		names = cases
	}
	checked := make([]checkedCase, len(names))
	var jobs errgroup.Group
	jobs.SetLimit(max(1, about.Jobs))
	for i, name := range names {
		jobs.Go(func() error {
			checked[i] = checkCase(ctx, suite, s, name)
			return nil
		})
	}
	_ = jobs.Wait() // none of them fails
	read := map[string]*fixture.Case{}
	for _, one := range checked {
		if one.interrupted {
			return r, ctx.Err()
		}
		read[one.name] = one.add(r)
	}
	r.Causes = causes(ctx, r.Results, read)
	return r, brokenError(r.Broken)
}

// checkedCase is what was found out about one case.
type checkedCase struct {
	name        string
	c           *fixture.Case
	result      report.Result
	err         error
	interrupted bool // before there was a result
}

func checkCase(ctx context.Context, suite fs.FS, s Runner, name string) checkedCase {
	one := checkedCase{name: name}
	if ctx.Err() == nil {
		if one.c, one.err = fixture.Read(suite, name); one.err == nil {
			one.result, one.err = runCase(ctx, s, one.c)
		}
	}
	one.interrupted = ctx.Err() != nil
	return one
}

// add adds one case to a report, and returns it; nil where it is broken.
func (one checkedCase) add(r *Report) *fixture.Case {
	if one.err != nil {
		r.Broken = append(r.Broken, report.Broken{Case: one.name, Err: one.err.Error()})
		return nil
	}
	r.Results = append(r.Results, one.result)
	r.AddSource(one.c.Provenance.Source())
	return one.c
}

func checkKnown(known map[string]string, cases []string) error {
	return checkNames("known", slices.Sorted(maps.Keys(known)), cases)
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

// runCase gives the verdict on one case.
func runCase(ctx context.Context, s Runner, c *fixture.Case) (report.Result, error) {
	about := s.About()
	judged := declared{about.Precision}
	ran := s.Run(ctx, c)
	if errors.Is(ran.Err, subject.ErrNotRun) {
		return report.Result{}, fmt.Errorf("%s: %w", c.Name, ran.Err)
	}
	if ran.Err != nil {
		r := report.Result{Case: c.Name, Purpose: c.Purpose, Verdict: report.Error, Err: ran.Err.Error()}
		if errors.Is(ran.Err, subject.ErrNotOffered) {
			r.Verdict = report.Skip
		}
		return known(about, r), nil
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
	if len(ran.Findings) > 0 {
		r.Findings, r.Verdict = ran.Findings, report.Fail
	}
	return known(about, r), nil
}

// known turns a listed failure into the verdict known, and a listed case that passes into a failure.
func known(s subject.About, r report.Result) report.Result {
	reason, listed := s.Known[r.Case]
	if !listed {
		return r
	}
	r.Known = reason
	switch r.Verdict {
	case report.Fail, report.Error:
		r.Verdict = report.Known
	case report.Pass:
		r.Verdict = report.Fail
		r.Findings = append(r.Findings, fmt.Sprintf("it passes, but is listed as known to fail (%s): take it off the list", reason))
	}
	return r
}
