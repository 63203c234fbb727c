// Package command is the difftest command: its flags, its exit statuses and what it prints.
//
// [Main] is the only promise of this package. The functions behind it may change at any time.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses. Silence is never success: a selection of nothing has its own.
const (
	exitFailed  = 1 // a case failed, or two files differ
	exitUsage   = 2 // a flag or an argument is wrong
	exitBroken  = 3 // a fixture, an output file or the harness is broken
	exitNothing = 4 // no case was selected, or all were skipped

	exitInterrupted = 130 // Ctrl-C, as a shell reports it; the report holds what was known by then
)

// Main runs one command line, without the name of the program, and returns its exit status.
// The first SIGINT or SIGTERM ends the work early; a second one ends the process.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process
	return run(ctx, args, stdin, stdout, stderr)
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var e *exitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &e):
		// cobra's own: flags, commands, numbers of arguments
		e = &exitError{exitUsage, fmt.Errorf("%w; difftest --help says what there is", err)}
	}
	if e.err != nil {
		fmt.Fprintln(stderr, "difftest:", e.err)
	}
	return e.status
}

// exitError ends the command with a status. err is printed unless it is nil.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return fmt.Sprint(e.err) }
func (e *exitError) Unwrap() error { return e.err }

func exit(status int, format string, args ...any) error {
	return &exitError{status, fmt.Errorf(format, args...)}
}

// interrupted is err, or that the command was interrupted, which explains it.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return exit(exitInterrupted, "interrupted")
	}
	return err
}

func newRoot() *cobra.Command {
	root := testCommand()
	root.SilenceErrors, root.SilenceUsage = true, true
	root.AddCommand(listCommand(), showCommand(), checkCommand(), exportCommand(), compareCommand(), weightsCommand(), lintCommand(), mistakesCommand(), explainCommand(), reviewCommand(), selftestCommand(), versionCommand())
	return root
}
