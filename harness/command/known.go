package command

import (
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/known"
	"github.com/difftest/difftest/harness/internal/report"
)

// knownFlags name a list of failures that are expected.
type knownFlags struct {
	file   string
	update bool
}

func (k *knownFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&k.file, "known", "", "`FILE` of failures that are expected: a name or pattern a line, cause=ID or nothing, # and the reason")
	f.BoolVar(&k.update, "update-known", false, "rewrite that file: entries that no longer hold go, new failures come")
	_ = cmd.MarkFlagFilename("known")
}

// read gives the text of the list. Only one that is written anew may be missing.
func (k *knownFlags) read(selection *selectionFlags) (string, error) {
	switch {
	case !k.update:
	case k.file == "":
		return "", exit(exitUsage, "--update-known rewrites the file that --known names")
	case selection.given():
		return "", exit(exitUsage, "--update-known needs every case: not with --case or --skip")
	case os.Getenv("CI") == "true":
		return "", exit(exitUsage, "--update-known is for people: CI=true")
	}
	if k.file == "" {
		return "", nil
	}
	text, err := os.ReadFile(k.file)
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

// apply rewrites the list if that is asked for, and returns the report with the verdict known for
// expected failures. cases are all cases of the suite. The error says that the list has an entry that
// selects no case, or that it could not be rewritten.
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

// rewrite makes the list true again and returns it.
func (k *knownFlags) rewrite(r *report.Report, text string) (string, error) {
	if len(r.Broken) > 0 {
		return "", exit(exitBroken, "--update-known: %s stays as it is, because of broken files", k.file)
	}
	updated, err := known.Update(text, r)
	if err != nil {
		return "", exit(exitUsage, "--known %s: %w", k.file, err)
	}
	if err := os.WriteFile(k.file, []byte(updated), 0o644); err != nil {
		return "", exit(exitUsage, "--update-known: %w", err)
	}
	return updated, nil
}
