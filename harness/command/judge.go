package command

import (
	"context"
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/report"
)

// judgeFlags are those of every command that judges cases of a suite.
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

// judge has the selected cases checked and writes the report. rerun is the command that checks one of them
// again. Whoever interrupts it gets what is known so far.
func (j *judgeFlags) judge(cmd *cobra.Command, check func(ctx context.Context, suite fs.FS, cases []string) (*report.Report, error), rerun func(name string) string) error {
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

// broken gives an error the status of a check that could not be carried out, unless it has one.
func broken(err error) error {
	if e := (*exitError)(nil); errors.As(err, &e) {
		return err
	}
	return exit(exitBroken, "%w", err)
}
