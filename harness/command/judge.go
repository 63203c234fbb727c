package command

import (
	"context"
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/report"
)

// judgeFlags are the flags of every command that judges the cases of a suite.
type judgeFlags struct {
	suite     suiteFlag
	selection selectionFlags
	output    outputFlags
	known     knownFlags
}

func (j *judgeFlags) add(cmd *cobra.Command) {
	j.suite.add(cmd)
	j.selection.add(cmd, &j.suite)
	j.output.add(cmd)
	j.known.add(cmd)
}

// checkFunc judges the named cases of a suite. If it is interrupted, it returns the results so far.
type checkFunc func(ctx context.Context, suite fs.FS, cases []string) (*report.Report, error)

// judge has check judge the selected cases, and writes the report. rerun returns the command line
// that judges one case again. An interrupted run is reported as far as it went.
func (j *judgeFlags) judge(cmd *cobra.Command, check checkFunc, rerun func(name string) string) error {
	format, err := j.output.format(cmd.OutOrStdout())
	if err != nil {
		return err
	}
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
	ctx, done := followed(cmd)
	r, err := check(ctx, suite, selected)
	done()
	if r == nil {
		return interrupted(ctx, broken(err))
	}
	r = r.WithRerun(rerun)
	if ctx.Err() != nil {
		return interrupted(ctx, format(cmd.OutOrStdout(), r))
	}
	r, wrongList := j.known.apply(r, list, names)
	if err := finish(cmd.OutOrStdout(), format, r); wrongList == nil || len(r.Broken) > 0 {
		return err
	}
	return wrongList
}

// broken gives err the status of a check that could not be carried out, unless err has a status.
func broken(err error) error {
	if e := (*exitError)(nil); errors.As(err, &e) {
		return err
	}
	return exit(exitBroken, "%w", err)
}
