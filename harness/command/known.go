package command

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/known"
	"github.com/difftest/difftest/harness/internal/report"
)

// knownFlags name the list of expected failures.
type knownFlags struct {
	file   string
	update bool
}

func (k *knownFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&k.file, "known", "", "`FILE` of expected failures, one a line: "+
		"a case or pattern, optionally cause=ID, then # and the reason")
	f.BoolVar(&k.update, "update-known", false,
		"rewrite that file: drop entries that no longer hold, add new failures")
	_ = cmd.MarkFlagFilename("known")
}

// read returns the text of the list, or "" without --known. With --update-known the file may be
// missing.
func (k *knownFlags) read(selection *selectionFlags) (string, error) {
	switch {
	case !k.update:
	case k.file == "":
		return "", exit(exitUsage, "--update-known: needs --known FILE")
	case selection.given():
		return "", exit(exitUsage, "--update-known: needs every case, not --case or --skip")
	case os.Getenv("CI") == "true":
		return "", exit(exitUsage, "--update-known: refused if CI=true; "+
			"run it on your own machine and commit the list")
	}
	if k.file == "" {
		return "", nil
	}
	if k.update {
		if err := writable(filepath.Dir(k.file)); err != nil {
			return "", exit(exitUsage, "--update-known: %w", err)
		}
	}
	text, err := readText(k.file)
	if k.update && errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", exit(exitUsage, "--known: %w", err)
	}
	if _, err := known.Parse(string(text)); err != nil {
		return "", exit(exitUsage, "--known %s: %w", k.file, err)
	}
	return string(text), nil
}

// apply rewrites the list if --update-known is given. It returns the report with the verdict known
// for expected failures. cases are all cases of the suite. apply fails if an entry of the list
// selects no case, and if the list cannot be rewritten.
func (k *knownFlags) apply(r *report.Report, text string, cases []string) (*report.Report, error) {
	if k.update {
		updated, err := k.rewrite(r, text)
		if err != nil {
			return r, err
		}
		text = updated
	}
	expected, err := known.Parse(text)
	if err != nil {
		return r, exit(exitUsage, "--known %s: %w", k.file, err)
	}
	acknowledged, err := known.Acknowledge(r, expected, cases)
	if err != nil {
		err = exit(exitFailed, "--known %s: %w", k.file, err)
	}
	return acknowledged, err
}

// rewrite brings the list up to date with the report, and returns the new text.
func (k *knownFlags) rewrite(r *report.Report, text string) (string, error) {
	if len(r.Broken) > 0 {
		return "", exit(exitBroken, "--update-known: files are broken; %s stays as it is", k.file)
	}
	updated, err := known.Update(text, r)
	if err != nil {
		return "", exit(exitUsage, "--known %s: %w", k.file, err)
	}
	if err := replaceFile(k.file, []byte(updated)); err != nil {
		return "", exit(exitUsage, "--update-known: %w", err)
	}
	return updated, nil
}
