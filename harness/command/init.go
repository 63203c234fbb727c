package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/shard"
	"github.com/difftest/difftest/harness/internal/starter"
)

func initCommand() *cobra.Command {
	var i starting
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a first test and a workflow into a project",
		Long: `init writes the files with which a project begins. In a Go module: a test that
compiles, and fails until your attention is filled in. With --python: a program
that difftest runs, to be filled in as well, and a test for pytest. Both get a
workflow for GitHub.

A file that exists is never changed.`,
		Example: `  difftest init
  difftest init ./internal/attention
  difftest init --python --shards 4`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			return i.run(cmd, dir)
		},
	}
	cmd.Flags().BoolVar(&i.python, "python", false, "write a subject in Python and a test for pytest")
	cmd.Flags().IntVar(&i.shards, "shards", 1, "with --python: share the cases among `N` machines in the workflow")
	return cmd
}

// starting holds the flags of init.
type starting struct {
	python bool
	shards int
}

func (i *starting) run(cmd *cobra.Command, dir string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return exit(exitUsage, "%s: no folder", dir)
	}
	if i.shards < 1 || i.shards > shard.Most || i.shards > 1 && !i.python {
		return exit(exitUsage, "--shards: %d, want 1 to %d, and --python", i.shards, shard.Most)
	}
	module, inModule := above(dir, "go.mod")
	if !i.python && !inModule {
		return exit(exitUsage, "%s is in no Go module: go mod init makes one; --python writes files for Python", dir)
	}
	top, inRepository := above(dir, ".git")
	files, err := i.files(dir, module, top, inRepository)
	if err != nil {
		return err
	}
	if !inRepository {
		top = dir
		if inModule && !i.python {
			top = module
		}
	}
	for _, f := range files {
		if err := writeNew(cmd, dir, top, f); err != nil {
			return err
		}
	}
	fmt.Fprint(cmd.OutOrStdout(), i.next())
	return nil
}

// files returns the files of a project in dir.
func (i *starting) files(dir, module, top string, inRepository bool) ([]starter.File, error) {
	start := dir
	if !i.python {
		start = module
	}
	below := "."
	if inRepository {
		var err error
		if below, err = relative(top, start); err != nil {
			return nil, exit(exitUsage, "%w", err)
		}
	}
	if !plainPath.MatchString(below) {
		return nil, exit(exitUsage, "%q: a path that a workflow needs in quotes", below)
	}
	if i.python {
		return starter.Python(below, i.shards), nil
	}
	pkg, err := starter.PackageOf(dir)
	if err != nil {
		return nil, exit(exitBroken, "%w", err)
	}
	return starter.Go(pkg, below), nil
}

// plainPath is a path that YAML reads as it is.
var plainPath = regexp.MustCompile(`^[\w./-]+$`)

// above returns the folder, dir itself or one above it, that holds a file or folder of that name.
func above(dir, name string) (string, bool) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", false
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return dir, true
		}
		if filepath.Dir(dir) == dir {
			return "", false
		}
		dir = filepath.Dir(dir)
	}
}

// relative returns the path of dir from the folder top, with slashes.
func relative(top, dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	below, err := filepath.Rel(top, dir)
	return filepath.ToSlash(below), err
}

// writeNew writes a file unless it exists, and says which of the two was the case.
func writeNew(cmd *cobra.Command, dir, top string, f starter.File) error {
	if f.Top {
		dir = top
	}
	file := filepath.Join(dir, filepath.FromSlash(f.Path))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return exit(exitBroken, "%w", err)
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		fmt.Fprintf(cmd.OutOrStdout(), "kept   %s, which exists\n", file)
		return nil
	}
	if err == nil {
		_, err = out.WriteString(f.Text)
		err = errors.Join(err, out.Close())
	}
	if err != nil {
		return exit(exitBroken, "%w", err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "wrote  %s\n", file)
	return nil
}

// next says what to do with the files.
func (i *starting) next() string {
	if i.python {
		return `
Next:
  1. Fill in sdpa or layer in difftest_subject.py.
  2. difftest -- python difftest_subject.py
  3. python -m pytest runs it as a test.
`
	}
	return `
Next:
  1. go get github.com/difftest/difftest
  2. Fill in sdpa or layer in difftest_test.go, and delete its first line.
  3. go test ./...
`
}
