package command

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/report"
)

// formats are the formats of --report.
var formats = map[string]report.Format{
	"brief":    report.Text(report.TextOptions{Bare: true, Brief: true}),
	"causes":   report.Causes,
	"detail":   report.Text(report.TextOptions{Bare: true, Verbosity: report.Verbose}),
	"json":     report.JSON,
	"html":     report.HTML,
	"junit":    report.JUnit,
	"markdown": report.Markdown,
	"sections": report.Sections,
	"text":     report.Text(report.TextOptions{Verbosity: report.Verbose}),
	"github":   report.GitHub,
	"summary":  report.StepSummary,
	blobFormat: nil, // what it needs is known when a run begins
}

// blobFormat is the name of the format that difftest merge reads.
const blobFormat = "blob"

// reportFlags name files, and the format of each.
type reportFlags struct{ specs []string }

func (f *reportFlags) add(cmd *cobra.Command) {
	names := slices.Sorted(maps.Keys(formats))
	cmd.Flags().StringArrayVar(&f.specs, "report", nil,
		"write a report besides, as `FORMAT=FILE`: "+strings.Join(names, ", ")+" (repeatable)")
	choices := make([]cobra.Completion, len(names))
	for i, name := range names {
		choices[i] = name + "="
	}
	_ = cmd.RegisterFlagCompletionFunc("report",
		cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoSpace|cobra.ShellCompDirectiveNoFileComp))
}

// hasBlob reports whether a file takes a blob.
func (f *reportFlags) hasBlob() bool {
	return slices.ContainsFunc(f.specs, func(spec string) bool { return strings.HasPrefix(spec, blobFormat+"=") })
}

// openReport is a file and the format of what goes into it.
type openReport struct {
	*os.File
	format report.Format // nil of a blob, until [openReports.with]
}

// openReports are files that take reports.
type openReports []openReport

// open makes the files, so that a wrong name is known before anything runs.
func (f *reportFlags) open() (openReports, error) {
	var all openReports
	files := map[string]bool{}
	for _, spec := range f.specs {
		name, file, found := strings.Cut(spec, "=")
		format, known := formats[name]
		switch {
		case !found || file == "":
			return nil, exit(exitUsage, "--report: %q, want FORMAT=FILE", spec)
		case !known:
			return nil, exit(exitUsage, "--report: no format %q%s, want one of %s", name,
				meant(name, slices.Collect(maps.Keys(formats))), strings.Join(slices.Sorted(maps.Keys(formats)), ", "))
		case files[file]:
			return nil, exit(exitUsage, "--report: %s is named twice", file)
		}
		files[file] = true
		out, err := os.Create(file)
		if err != nil {
			return nil, exit(exitUsage, "--report: %w", err)
		}
		all = append(all, openReport{out, format})
	}
	if summary := os.Getenv("GITHUB_STEP_SUMMARY"); inGitHub() && summary != "" {
		out, err := os.OpenFile(summary, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, exit(exitUsage, "GITHUB_STEP_SUMMARY: %w", err)
		}
		all = append(all, openReport{out, report.StepSummary})
	}
	return all, nil
}

// with returns the files with the format of blobs, and one more file of JUnit XML unless its name
// is empty.
func (all openReports) with(xml string, blob report.Format) (openReports, error) {
	all = slices.Clone(all)
	for i := range all {
		if all[i].format == nil {
			all[i].format = blob
		}
	}
	if xml == "" {
		return all, nil
	}
	out, err := os.Create(xml)
	if err != nil {
		return nil, exit(exitUsage, "XML_OUTPUT_FILE: %w", err)
	}
	return append(all, openReport{out, report.JUnit}), nil
}

// inGitHub reports whether a GitHub workflow runs the command.
func inGitHub() bool { return os.Getenv("GITHUB_ACTIONS") == "true" }

// write writes a report into every file, and closes them.
func (all openReports) write(r *report.Report) error {
	var errs []error
	for _, one := range all {
		if err := errors.Join(one.format(one, r), one.Close()); err != nil {
			errs = append(errs, fmt.Errorf("--report: %s: %w", one.Name(), err))
		}
	}
	return errors.Join(errs...)
}

// also returns a format that writes the report into the files, too. In a GitHub workflow,
// annotations go to stderr, where the runner reads them and no program reads JSON.
func (all openReports) also(format report.Format, stderr io.Writer) report.Format {
	return func(w io.Writer, r *report.Report) error {
		err := errors.Join(format(w, r), all.write(r))
		if inGitHub() {
			err = errors.Join(err, report.GitHub(stderr, r))
		}
		return err
	}
}
