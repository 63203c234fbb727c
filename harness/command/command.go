// Package command is the difftest command: its flags, its exit statuses and its output.
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
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/printable"
	"github.com/difftest/difftest/harness/internal/report"
)

// Exit statuses. Silence is never success: an empty selection has a status of its own.
const (
	exitFailed      = 1   // a case failed, or two files differ
	exitUsage       = 2   // a flag or an argument is wrong
	exitBroken      = 3   // a fixture, an output file or the harness is broken
	exitNothing     = 4   // no case was selected, or every case was skipped
	exitInterrupted = 130 // Ctrl-C, as a shell reports it; the report holds all results until then
)

// Main runs one command line, without the name of the program, and returns its exit status.
// The first SIGINT, SIGTERM or SIGHUP ends the work early; the second ends the process.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	context.AfterFunc(ctx, stop) // the next signal has its default effect
	return run(ctx, args, stdin, stdout, stderr)
}

// countedWriter counts the bytes that are written.
type countedWriter struct {
	io.Writer
	n int
}

func (w *countedWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.n += n
	return n, err
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand()
	counted := &countedWriter{Writer: stdout}
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(counted)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var e *exitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &e):
		// cobra's own errors: unknown flags and commands, wrong numbers of arguments
		e = &exitError{exitUsage, fmt.Errorf("%w; see difftest --help", err)}
	}
	if e.err != nil {
		fmt.Fprintln(stderr, "difftest:", printable.Message(e.err.Error()))
	}
	if e.err != nil && counted.n == 0 && wantsJSON(cmd, args) {
		writeFailure(stdout, e)
	}
	return e.status
}

// wantsJSON reports whether the command line asks for JSON, even if it is wrong otherwise.
func wantsJSON(cmd *cobra.Command, args []string) bool {
	if cmd.Flags().Lookup("json") == nil {
		return false
	}
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}

// writeFailure writes a report without results.
func writeFailure(w io.Writer, e *exitError) {
	_ = report.JSON(w, failureOf(e)) // the exit status says that something is wrong in any case
}

// failureOf returns a report without results, which says why there are none.
func failureOf(err error) *report.Report {
	status := exitBroken
	if e := (*exitError)(nil); errors.As(err, &e) {
		status = e.status
	}
	return &report.Report{
		Tool: toolName(), Interrupted: status == exitInterrupted,
		Failure: &report.Failure{Status: status, Message: err.Error()},
	}
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

// interrupted returns err. If ctx is done, it returns an error with the status of an interruption
// instead, because the interruption is the reason for err.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return exit(exitInterrupted, "interrupted")
	}
	return err
}

// unlessInterrupted returns the result of work, or the error of an interruption as soon as ctx
// ends. Work that has no context of its own then goes on until the process ends.
func unlessInterrupted[T any](ctx context.Context, work func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := work()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, interrupted(ctx, ctx.Err())
	}
}

// writeUnlessInterrupted writes what work writes, all at once in the end, unless the context of a
// command ends before.
func writeUnlessInterrupted(cmd *cobra.Command, work func(io.Writer) error) error {
	var failure error
	text, err := unlessInterrupted(cmd.Context(), func() (string, error) {
		var b strings.Builder
		failure = work(&b)
		return b.String(), nil
	})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(cmd.OutOrStdout(), text); err != nil {
		return exit(exitBroken, "%w", err)
	}
	return failure
}
