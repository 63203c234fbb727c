package command

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/report"
)

// lastFailed remembers, in the user's folder for caches, the cases that failed last. Each
// implementation, suite and working directory has a file of its own.
type lastFailed struct{ on, forget bool }

func (l *lastFailed) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&l.on, "last-failed", false, "select the cases that failed in the last run of the same command")
	f.BoolVar(&l.forget, "forget", false, "do not remember what fails, for programs that call difftest")
	_ = f.MarkHidden("forget")
}

// file returns where the failures of an implementation are remembered.
func (l *lastFailed) file(subject, suite string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", here, subject, suite))
	return filepath.Join(cache, "difftest", fmt.Sprintf("failed-%x.json", key[:12])), nil
}

// read returns the failures in a file; nil if there is none.
func (l *lastFailed) read(file string) []string {
	var names []string
	if text, err := readText(file); err == nil {
		_ = json.Unmarshal(text, &names) // a file of another version remembers nothing
	}
	return names
}

// selected returns the cases among names that failed last.
func (l *lastFailed) selected(subject, suite string, names []string) ([]string, error) {
	if !l.on {
		return names, nil
	}
	file, err := l.file(subject, suite)
	if err != nil {
		return nil, exit(exitUsage, "--last-failed: %w", err)
	}
	failed := l.read(file)
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !slices.Contains(failed, name) })
	if len(names) == 0 {
		return nil, exit(exitNothing, "--last-failed: no selected case failed in the last run")
	}
	return names, nil
}

// remember brings the file up to date. Cases that the run did not reach stay as they were. A cache
// that cannot be written is no reason to fail.
func (l *lastFailed) remember(subject, suite string, r *report.Report) {
	file, err := l.file(subject, suite)
	if err != nil || l.forget {
		return
	}
	before := l.read(file)
	failed := slices.Clone(before)
	for _, result := range r.Results {
		failed = slices.DeleteFunc(failed, func(name string) bool { return name == result.Case })
		if result.Verdict == report.Fail || result.Verdict == report.Error {
			failed = append(failed, result.Case)
		}
	}
	slices.Sort(failed)
	if slices.Equal(before, failed) {
		return
	}
	text, err := json.Marshal(failed)
	if err == nil && os.MkdirAll(filepath.Dir(file), 0o755) == nil {
		_ = os.WriteFile(file, text, 0o644)
	}
}
