package command

import (
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/difftest/difftest/harness/internal/report"
)

// outputFlags say how a report is written.
type outputFlags struct {
	json, verbose, quiet bool
	color                string
}

func (o *outputFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.json, "json", false, "write the report as JSON")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "what each case is for; of a failure, what every mistake looks like there")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "only what is wrong, and the last line")
	f.StringVar(&o.color, "color", "auto", "colours: auto, always or never")
	cmd.MarkFlagsMutuallyExclusive("json", "verbose")
	cmd.MarkFlagsMutuallyExclusive("json", "quiet")
	cmd.MarkFlagsMutuallyExclusive("verbose", "quiet")
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]cobra.Completion{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
}

// format gives the writer of reports that the flags ask for.
func (o *outputFlags) format(w io.Writer) (report.Format, error) {
	color, err := o.colored(w)
	if err != nil {
		return nil, err
	}
	if o.json {
		return report.JSON, nil
	}
	return report.Text(report.TextOptions{Verbose: o.verbose, Quiet: o.quiet, Color: color}), nil
}

// colored decides on colour: the flag first, then NO_COLOR and FORCE_COLOR (set and not empty),
// then whether a person reads along.
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
	if os.Getenv("FORCE_COLOR") != "" {
		return true, nil
	}
	f, isFile := w.(*os.File)
	return isFile && term.IsTerminal(int(f.Fd())), nil
}

// finish writes the report and gives the exit status that goes with it. broken says that a case
// could not be judged; the report names it.
func finish(w io.Writer, format report.Format, r *report.Report) error {
	if err := format(w, r); err != nil {
		return exit(exitBroken, "write the report: %w", err)
	}
	switch {
	case len(r.Broken) > 0:
		return exit(exitBroken, "broken: %d, named above", len(r.Broken))
	case r.OK():
		return nil
	case r.Count(report.Fail)+r.Count(report.Error) > 0:
		return &exitError{status: exitFailed}
	}
	return exit(exitNothing, "every case was skipped")
}
