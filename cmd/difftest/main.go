// Command difftest tells whether an attention implementation computes what PyTorch computes,
// and when it does not, what is wrong with it.
package main

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

	exitInterrupted = 130 // Ctrl-C: as a shell has it; the report holds what was known by then
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run carries out a command line and gives its exit status.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process
	return runContext(ctx, args, stdout, stderr)
}

func runContext(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
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
