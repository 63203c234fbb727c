package command

import (
	"context"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/known"
	"github.com/difftest/difftest/harness/internal/report"
)

// live writes what a run finds while it goes on: a line for each case.
type live struct {
	printer *report.Printer // nil if the report is JSON, which is written in the end
	json    io.Writer
	follow  *follower
	known   []known.Failure
	stop    stopFlags
	seen    []func(check.Judged) error // more that wants to hear of every case

	failures int
	err      error // the first that a write returned
}

// open returns the output that the flags ask for.
func (o *outputFlags) open(cmd *cobra.Command, follow *follower) (*live, error) {
	out := cmd.OutOrStdout()
	options, err := o.options(out)
	if err != nil {
		return nil, err
	}
	l := &live{follow: follow, json: out}
	if !o.json {
		l.printer = report.NewPrinter(out, options)
	}
	return l, nil
}

// begin writes the first lines, before anything runs.
func (l *live) begin(who about, s selected) error {
	switch {
	case l.printer == nil:
		return nil
	case len(s.own) == 0:
		return l.printer.Nothing(fmt.Sprintf("shard %s has none of the %d selected cases", s.shard, len(s.cases)))
	}
	about := &report.Report{Subject: who.subject, Precision: who.precision, Shard: s.name()}
	about.Suite = sourceOf(s.suite, s.own)
	return l.printer.Begin(about, s.own)
}

// sourceOf says what made the first case that can be read.
func sourceOf(suite fs.FS, names []string) string {
	for _, name := range names {
		if c, err := fixture.Read(suite, name); err == nil {
			return c.Provenance.Source()
		}
	}
	return "cases that cannot be read"
}

// watch returns a context in which each judged case is written at once.
func (l *live) watch(ctx context.Context) context.Context {
	return check.Watched(ctx, func(j check.Judged) bool {
		l.follow.pause()
		for _, hear := range append([]func(check.Judged) error{l.write}, l.seen...) {
			if err := hear(j); err != nil && l.err == nil {
				l.err = err
			}
		}
		return l.err == nil && !l.stop.reached(l.failures)
	})
}

// write writes the line of a case, and counts failures that nobody expects.
func (l *live) write(j check.Judged) error {
	r := known.Acknowledged(l.known, j.Result)
	if r.Verdict == report.Fail || r.Verdict == report.Error || j.Broken != "" {
		l.failures++
	}
	switch {
	case l.printer == nil:
		return nil
	case j.Broken != "":
		return l.printer.Broken(j.Result.Case, j.Broken)
	}
	return l.printer.Case(r)
}

// end writes the rest of the report.
func (l *live) end(_ io.Writer, r *report.Report) error {
	if l.err != nil {
		return l.err
	}
	if l.printer == nil {
		return report.JSON(l.json, r)
	}
	return l.printer.End(r)
}
