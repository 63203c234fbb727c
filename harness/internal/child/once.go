package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/difftest/difftest/harness/internal/printable"
	"github.com/difftest/difftest/harness/internal/protocol"
	"github.com/difftest/difftest/harness/internal/subject"
)

// once runs a process for one case and takes its output.
func (s *Subject) once(ctx context.Context, f *folder) subject.Result {
	p, err := start(withFolder(s.command.Args, f.dir), environment(s.command.Env), discarded)
	if err != nil {
		return subject.Result{Err: fmt.Errorf("the child cannot be started: %w", err)}
	}
	_ = p.stdin.Close() // there is nothing to read
	err = p.finish(ctx, s.command.Timeout, f)
	p.end(0, impatience)
	var declared subject.Precision
	if err == nil {
		declared, err = p.verdict(f)
	}
	if err != nil {
		if !errors.Is(err, subject.ErrNotOffered) {
			err = withStderr(err, p.stderr)
		}
		return subject.Result{Err: err}
	}
	out, err := f.outputs()
	if errors.Is(err, errNotWritten) {
		err = fmt.Errorf("%w\nhint: a program that answers messages on its stdin runs without --once", err)
	}
	if err != nil {
		return subject.Result{Err: withStderr(err, p.stderr)}
	}
	inside, err := f.trace()
	if err != nil {
		return subject.Result{Err: withStderr(err, p.stderr)}
	}
	return subject.Result{
		Output: out.Output, Weights: out.Weights, Trace: inside, Findings: f.changes(), Precision: declared,
	}
}

// withFolder puts a folder in place of "{dir}" in the arguments of a command, or at their end.
func withFolder(args []string, dir string) []string {
	const place = "{dir}"
	var out []string
	for _, a := range args {
		out = append(out, strings.ReplaceAll(a, place, dir))
	}
	if !strings.Contains(strings.Join(args[1:], "\x00"), place) {
		out = append(out, dir)
	}
	return out
}

// finish waits until the process has ended. It fails after timeout, or once the folder is too full.
func (p *process) finish(ctx context.Context, timeout time.Duration, f *folder) error {
	late, look := time.NewTimer(timeout), time.NewTicker(watched)
	defer late.Stop()
	defer look.Stop()
	for {
		select {
		case <-p.ended:
			return nil
		case <-late.C:
			return fmt.Errorf("it has not ended for %v", timeout)
		case <-look.C:
			if err := f.withinQuota(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// verdict fails if the process left a reply that skips the case or reports an error, if its exit
// status is not 0, or if other processes of its group still run. It returns the precision that the
// reply declares.
func (p *process) verdict(f *folder) (subject.Precision, error) {
	declared, err := leftReply(filepath.Join(f.dir, protocol.ReplyFile))
	if err != nil {
		return declared, err
	}
	const success = "exit status 0"
	if p.state != success {
		return declared, fmt.Errorf("it ended (%s), want %s", p.state, success)
	}
	if p.leftovers {
		return declared, errors.New("it ended and left other processes running")
	}
	return declared, nil
}

// leftReply reads the reply in a file. It returns nil if there is no such file.
func leftReply(file string) (declared subject.Precision, err error) {
	if _, err := os.Lstat(file); errors.Is(err, os.ErrNotExist) {
		return declared, nil
	}
	var reply protocol.Reply
	data, err := readRegular(file)
	if err == nil {
		reply, err = protocol.ParseReply(data)
	}
	if err == nil {
		declared, err = subject.ParsePrecision(reply.Precision)
	}
	if err != nil {
		return declared, fmt.Errorf("%s: %s", protocol.ReplyFile, printable.Text(err.Error()))
	}
	return declared, answered(reply)
}
