package command

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/known"
	"github.com/difftest/difftest/harness/internal/report"
)

// judgeFlags are the flags of every command that judges the cases of a suite.
type judgeFlags struct {
	suite     suiteFlag
	selection selectionFlags
	output    outputFlags
	known     knownFlags
	stop      stopFlags
	last      lastFailed
	reports   reportFlags
	keep      keepFlag // only of a command that runs an implementation
}

func (j *judgeFlags) add(cmd *cobra.Command) {
	j.suite.add(cmd)
	j.selection.add(cmd, &j.suite)
	j.output.add(cmd)
	j.known.add(cmd)
	j.stop.add(cmd)
	j.last.add(cmd)
	j.reports.add(cmd)
}

// checkFunc judges the named cases of a suite. If it is interrupted, it returns the results so far.
type checkFunc func(ctx context.Context, suite fs.FS, cases []string) (*report.Report, error)

// about is who is judged, for the first line of the report.
type about struct{ subject, precision string }

// judge has run judge the selected cases, and writes the report as it grows. rerun returns the
// command line that judges one case again. An interrupted run is reported as far as it went.
func (j *judgeFlags) judge(cmd *cobra.Command, who about, run checkFunc, rerun func(name string) string) error {
	begun := time.Now()
	list, err := j.known.read(&j.selection)
	if err != nil {
		return err
	}
	suite, names, err := j.suite.cases()
	if err != nil {
		return err
	}
	selected, err := selectCases(names, j.selection.patterns, j.selection.skip)
	if err != nil {
		return err
	}
	selected, err = j.last.selected(who.subject, j.suite.dir, selected)
	if err != nil {
		return err
	}
	ctx, follow := followed(cmd)
	out, err := j.open(cmd, follow, list)
	if err != nil {
		return err
	}
	out.seen = append(out.seen, func(one check.Judged) error { return j.keep.save(suite, who.precision, one) })
	files, err := j.reports.open()
	if err != nil {
		return err
	}
	format := files.also(out.end, cmd.ErrOrStderr())
	if err := out.begin(who.subject, who.precision, suite, selected); err != nil {
		return exit(exitBroken, "write the report: %w", err)
	}
	r, err := run(out.watch(ctx), suite, selected)
	follow.pause()
	if r == nil {
		err = interrupted(ctx, broken(err))
		return errors.Join(err, files.write(failureOf(err)))
	}
	r = r.WithRerun(rerun)
	r.Tool, r.SuiteHash = "difftest "+toolVersion(), suiteHash(suite, names)
	r = j.output.timed(r, time.Since(begun))
	if ctx.Err() != nil {
		return interrupted(ctx, format(cmd.OutOrStdout(), r))
	}
	j.last.remember(who.subject, j.suite.dir, r)
	r, wrongList := j.known.apply(r, list, names)
	if err := finish(cmd.OutOrStdout(), format, r); wrongList == nil || len(r.Broken) > 0 {
		return err
	}
	return wrongList
}

// open returns the output of a run with a list of expected failures.
func (j *judgeFlags) open(cmd *cobra.Command, follow *follower, list string) (*live, error) {
	if err := j.stop.check(); err != nil {
		return nil, err
	}
	out, err := j.output.open(cmd, follow)
	if err != nil {
		return nil, err
	}
	out.stop = j.stop
	out.known, err = known.Parse(list)
	return out, err
}

// broken gives err the status of a check that could not be carried out, unless err has a status.
func broken(err error) error {
	if e := (*exitError)(nil); errors.As(err, &e) {
		return err
	}
	return exit(exitBroken, "%w", err)
}
