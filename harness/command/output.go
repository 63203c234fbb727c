package command

import (
	"cmp"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/difftest/difftest/harness/internal/report"
)

// outputFlags say how to write a report.
type outputFlags struct {
	json, quiet bool
	verbose     int
	color       string
	slowest     int
	noDuration  bool
}

func (o *outputFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.json, "json", false, "write the report as JSON, for programs")
	f.CountVarP(&o.verbose, "verbose", "v",
		"say what each case is for, and write every failure in detail; "+
			"-vv adds how large every mistake would be")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "write only failures, causes and the last line")
	f.IntVar(&o.slowest, "slowest", 0, "name the `N` cases that take longest")
	f.BoolVar(&o.noDuration, "no-duration", false, "leave out times: two equal runs give the same bytes")
	f.StringVar(&o.color, "color", "auto", "use colours: `WHEN` is auto, always or never")
	cmd.MarkFlagsMutuallyExclusive("json", "verbose")
	cmd.MarkFlagsMutuallyExclusive("json", "quiet")
	cmd.MarkFlagsMutuallyExclusive("verbose", "quiet")
	choices := []cobra.Completion{"auto", "always", "never"}
	_ = cmd.RegisterFlagCompletionFunc("color",
		cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
}

// options returns how to write a report for people to w.
func (o *outputFlags) options(w io.Writer) (report.TextOptions, error) {
	color, err := o.colored(w)
	verbosity := min(report.Verbosity(o.verbose), report.Everything)
	if o.quiet {
		verbosity = report.Quiet
	}
	return report.TextOptions{
		Verbosity: verbosity, Color: color, Palette: palette(), Width: terminalWidth(w), Slowest: o.slowest,
	}, err
}

// palette returns the colours of the terminal, as its variables say. A terminal without UTF-8 has
// none, because it does not show half blocks.
func palette() report.Palette {
	if os.Getenv("WT_SESSION") != "" { // Windows Terminal
		return report.TrueColors
	}
	locale := strings.ToLower(cmp.Or(os.Getenv("LC_ALL"), os.Getenv("LC_CTYPE"), os.Getenv("LANG")))
	colors := os.Getenv("COLORTERM")
	switch {
	case !strings.Contains(locale, "utf-8") && !strings.Contains(locale, "utf8"):
		return report.NoPalette
	case colors == "truecolor" || colors == "24bit":
		return report.TrueColors
	case strings.Contains(os.Getenv("TERM"), "256color"):
		return report.Colors256
	}
	return report.NoPalette
}

// format returns the function that writes a finished report as the flags say.
func (o *outputFlags) format(w io.Writer) (report.Format, error) {
	options, err := o.options(w)
	if o.json {
		return report.JSON, err
	}
	return report.Text(options), err
}

// colored reports whether to write colours to w. The flag decides first, then NO_COLOR, FORCE_COLOR
// and CLICOLOR_FORCE if they are not empty, then whether w is a terminal.
func (o *outputFlags) colored(w io.Writer) (bool, error) {
	switch o.color {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "auto":
	default:
		return false, exit(exitUsage, "--color: %q, want auto, always or never", o.color)
	}
	if os.Getenv("NO_COLOR") != "" {
		return false, nil
	}
	if force := os.Getenv("CLICOLOR_FORCE"); os.Getenv("FORCE_COLOR") != "" || force != "" && force != "0" {
		return true, nil
	}
	f := fileOf(w)
	return f != nil && term.IsTerminal(int(f.Fd())), nil
}

// timed returns a report with the time of the whole run, or without any times.
func (o *outputFlags) timed(r *report.Report, took time.Duration) *report.Report {
	out := *r
	out.Took = took
	if !o.noDuration {
		return &out
	}
	out.Took, out.Results = 0, slices.Clone(r.Results)
	for i := range out.Results {
		out.Results[i].Took = 0
	}
	return &out
}

// finish writes the report, and returns an error with the exit status that the report calls for;
// nil if no case failed.
func finish(w io.Writer, format report.Format, r *report.Report) error {
	if err := format(w, r); err != nil {
		return exit(exitBroken, "write the report: %w", err)
	}
	switch {
	case len(r.Broken) > 0:
		return exit(exitBroken, "broken: %d, named above", len(r.Broken))
	case r.OK(), r.Shard != "" && r.Selected == 0: // a shard may have no case
		return nil
	case r.Count(report.Fail)+r.Count(report.Error) > 0:
		return &exitError{status: exitFailed}
	}
	return exit(exitNothing, "every case was skipped")
}
