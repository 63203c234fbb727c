package command

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/blob"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/known"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/shard"
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
	keep      keepFlag  // only of a command that runs an implementation
	shard     shardFlag // likewise
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

// selected is the cases of a run, and the part of them that is judged here.
type selected struct {
	suite fs.FS
	all   []string // of the suite
	cases []string // of the run
	own   []string // of the shard
	shard shard.Shard
	xml   string // file that Bazel wants a report in; "" if it wants none
}

// selected returns the cases that the flags, or Bazel, select for a subject.
func (j *judgeFlags) selected(subject string) (selected, error) {
	part, test, err := j.shard.read()
	if err != nil {
		return selected{}, err
	}
	if !part.IsWhole() && j.known.update {
		return selected{}, exit(exitUsage, "--update-known: needs every case, not --shard")
	}
	s := selected{shard: part, xml: test.XML}
	if s.suite, s.all, err = j.suite.cases(); err != nil {
		return s, err
	}
	patterns := j.selection.patterns
	if test.Filter != "" {
		patterns = append(slices.Clone(patterns), test.Filter)
	}
	if s.cases, err = selectCases(s.all, patterns, j.selection.skip); err != nil {
		return s, err
	}
	s.cases, err = j.last.selected(subject, j.suite.dir, s.cases)
	s.own = part.Cases(s.cases)
	return s, err
}

// judge has run judge the selected cases, and writes the report as it grows. rerun returns the
// command line that judges one case again. An interrupted run is reported as far as it went.
func (j *judgeFlags) judge(cmd *cobra.Command, who about, run checkFunc, rerun func(name string) string) error {
	begun := time.Now()
	quietCollector()
	list, err := j.known.read(&j.selection)
	if err != nil {
		return err
	}
	s, err := j.selected(who.subject)
	if err != nil {
		return err
	}
	ctx, follow := followed(cmd)
	out, err := j.open(cmd, follow, list)
	if err != nil {
		return err
	}
	out.seen = append(out.seen, func(one check.Judged) error { return j.keep.save(s.suite, who.precision, one) })
	files, err := j.reports.open()
	if err != nil {
		return err
	}
	files, err = files.with(s.xml, blobOf(blob.Run{
		About: who.subject, Precision: who.precision, Flags: givenFlags(cmd), Known: list, Cases: s.cases,
	}, s.shard))
	if err != nil {
		return err
	}
	format := files.also(out.end, cmd.ErrOrStderr())
	if err := out.begin(who, s); err != nil {
		return exit(exitBroken, "write the report: %w", err)
	}
	r, err := s.check(out.watch(ctx), who, run)
	follow.pause()
	if r == nil {
		err = interrupted(ctx, broken(err))
		return errors.Join(err, files.write(failureOf(err)))
	}
	r = r.WithRerun(rerun)
	r.Tool, r.Shard = toolName(), s.name()
	if j.output.json || len(files) > 0 { // text for people does not show the sum
		r.SuiteHash = suiteHash(s.suite, s.all)
	}
	r = j.output.timed(r, time.Since(begun))
	if ctx.Err() != nil {
		return interrupted(ctx, format(cmd.OutOrStdout(), r))
	}
	j.last.remember(who.subject, j.suite.dir, r)
	r, wrongList := j.known.apply(r, list, s.all)
	err = s.leftToMerge(j.reports, finish(cmd.OutOrStdout(), format, r))
	if wrongList == nil || len(r.Broken) > 0 {
		return err
	}
	return wrongList
}

// leftToMerge returns nil in place of the error that every case was skipped, if a blob of a shard
// was written: difftest merge reports whether any shard had more.
func (s selected) leftToMerge(reports reportFlags, err error) error {
	e := (*exitError)(nil)
	if !s.shard.IsWhole() && reports.hasBlob() && errors.As(err, &e) && e.status == exitNothing {
		return nil
	}
	return err
}

// check judges the cases of the shard. A shard may have none.
func (s selected) check(ctx context.Context, who about, run checkFunc) (*report.Report, error) {
	if len(s.own) == 0 {
		return &report.Report{Subject: who.subject, Precision: who.precision, Observed: &report.Observed{}}, nil
	}
	return run(ctx, s.suite, s.own)
}

// name returns the shard as reports name it: "2/3"; "" for a whole run.
func (s selected) name() string {
	if s.shard.IsWhole() {
		return ""
	}
	return s.shard.String()
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
