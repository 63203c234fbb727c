package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/report"
	"github.com/difftest/difftest/harness/subject"
)

// Check runs a subject on the cases of a suite, or on the named ones only, and returns what it
// found. The error says that the check could not be carried out in full: a case is broken (the
// report lists it and holds the others), a name is unknown, ctx ended. A wrong subject is no error.
func Check(ctx context.Context, suite fs.FS, s Subject, cases ...string) (*Report, error) {
	names, suiteErr := fixture.Names(suite)
	if suiteErr != nil && len(names) == 0 {
		return nil, suiteErr
	}
	if err := errors.Join(checkKnown(s, names), checkNames("case", cases, names)); err != nil {
		return nil, err
	}
	r := &Report{Subject: s.Name}
	if suiteErr != nil {
		r.Broken = append(r.Broken, report.Broken{Case: "(suite)", Err: suiteErr.Error()})
	}
	if len(cases) > 0 {
		names = cases
	}
	read := map[string]*fixture.Case{}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		read[name] = checkCase(ctx, r, suite, s, name)
	}
	r.Causes = causes(ctx, r.Results, read)
	return r, brokenError(r.Broken)
}

// checkCase adds one case to a report, and returns it; nil where it is broken.
func checkCase(ctx context.Context, r *Report, suite fs.FS, s Subject, name string) *fixture.Case {
	c, err := fixture.Read(suite, name)
	if err == nil {
		var result report.Result
		if result, err = runCase(ctx, s, c); err == nil {
			r.Results = append(r.Results, result)
			r.AddSource(c.Provenance.Source())
		}
	}
	if err != nil {
		r.Broken = append(r.Broken, report.Broken{Case: name, Err: err.Error()})
		return nil
	}
	return c
}

func checkKnown(s Subject, cases []string) error {
	return checkNames("known", slices.Sorted(maps.Keys(s.Known)), cases)
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
func runCase(ctx context.Context, s Subject, c *fixture.Case) (report.Result, error) {
	ran := s.Run(c)
	if ran.Err != nil {
		r := report.Result{Case: c.Name, Purpose: c.Purpose, Verdict: report.Error, Err: ran.Err.Error()}
		if errors.Is(ran.Err, subject.ErrNotOffered) {
			r.Verdict = report.Skip
		}
		return known(s, r), nil
	}
	r, err := Judge(ctx, c, ran.Output.Shape, ran.Output.Float64s())
	if err != nil {
		return report.Result{}, err
	}
	if c.Weights != nil {
		findings, err := JudgeWeights(c, ran.Weights.Shape, ran.Weights.Float64s())
		if err != nil {
			return report.Result{}, err
		}
		ran.Findings = append(ran.Findings, findings...)
	}
	r.Findings = ran.Findings
	if r, err = withLoad(ctx, c, ran, r); err != nil {
		return report.Result{}, err
	}
	return known(s, withProbes(ctx, s, c, ran, r)), nil
}

// known turns a listed failure into the verdict known, and a listed case that passes into a failure.
func known(s Subject, r report.Result) report.Result {
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
