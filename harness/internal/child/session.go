package child

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/difftest/difftest/harness/internal/printable"
	"github.com/difftest/difftest/harness/internal/protocol"
	"github.com/difftest/difftest/harness/internal/subject"
)

// session is a child that has answered start. It computes one output after another.
type session struct {
	*process
	seq     int // of the last message
	timeout time.Duration
	started protocol.Started
}

// fault is an error after which a child cannot be used any more and is ended. ended is set if the
// child has ended by itself.
type fault struct {
	err   error
	ended bool
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func faultf(format string, args ...any) error { return &fault{err: fmt.Errorf(format, args...)} }

// open starts a child that serves cases. On failure the child is ended, and the error has its last
// lines of stderr.
func open(ctx context.Context, c Command) (*session, error) {
	p, err := start(c.Args, environment(c.Env), messages)
	if err != nil {
		return nil, faultf("the child cannot be started: %w", err)
	}
	s := &session{process: p, timeout: c.Timeout}
	hello := protocol.Start{Type: protocol.TypeStart, Seq: s.next(), Protocol: protocol.Version, Difftest: c.Tool}
	reply, err := s.ask(ctx, hello, always)
	if err == nil && reply.Type != protocol.TypeStarted {
		err = faultf("it answers %q to %q, want %q", reply.Type, protocol.TypeStart, protocol.TypeStarted)
	}
	if f := (*fault)(nil); errors.As(err, &f) && f.ended {
		err = faultf("%w\n%s", err, needsOnce)
	}
	if err != nil {
		return nil, s.fail(err)
	}
	s.started = reply.Started
	return s, nil
}

// needsOnce is the hint for a program that does not answer the first message.
const needsOnce = "hint: a program that computes one case and ends needs --once"

func always() error { return nil }

func (s *session) next() int {
	s.seq++
	return s.seq
}

// same fails if the child describes itself differently from the first one.
func (s *session) same(before protocol.Started) error {
	if !reflect.DeepEqual(s.started, before) {
		describe := func(s protocol.Started) string { return printable.Line(fmt.Sprintf("%+v", s)) }
		return faultf("started again, it calls itself %s, before %s", describe(s.started), describe(before))
	}
	return nil
}

// run asks for the output of a request. The error is not a fault if the child skips the case or
// reports an error of its own.
func (s *session) run(ctx context.Context, f *folder) error {
	message := protocol.Run{Type: protocol.TypeRun, Seq: s.next(), Dir: f.dir, Request: f.request}
	reply, err := s.ask(ctx, message, f.withinQuota)
	if err != nil {
		return err
	}
	if reply.Type == protocol.TypeStarted {
		return faultf("it answers %q to %q", reply.Type, protocol.TypeRun)
	}
	return answered(reply)
}

// answered turns a reply into an error: the one that the child reports, or its reason to skip.
func answered(r protocol.Reply) error {
	switch r.Type {
	case protocol.TypeSkipped:
		return fmt.Errorf("%w: %s", subject.ErrNotOffered, strings.Join(printable.Lines(r.Reason), " "))
	case protocol.TypeError:
		lines := append(printable.Lines(r.Message), printable.Lines(strings.TrimSpace(r.Traceback))...)
		return errors.New(strings.Join(lines, "\n"))
	}
	return nil
}

// done ends a case. Faults up to the answer belong to this case, not to the next one.
func (s *session) done(ctx context.Context, f *folder) error {
	reply, err := s.ask(ctx, protocol.Done{Type: protocol.TypeDone, Seq: s.next()}, f.withinQuota)
	if err == nil && reply.Type != protocol.TypeOK {
		err = faultf("it answers %q to %q, want %q", reply.Type, protocol.TypeDone, protocol.TypeOK)
	}
	return err
}

// watched is the time between two checks of a child that has not answered or ended yet.
const watched = 50 * time.Millisecond

// ask sends a message and waits for its answer. It gives up as soon as check fails.
func (s *session) ask(ctx context.Context, message any, check func() error) (protocol.Reply, error) {
	text, err := protocol.Line(message)
	if err != nil {
		return protocol.Reply{}, err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := s.stdin.Write(text)
		sent <- err
	}()
	late, look := time.NewTimer(s.timeout), time.NewTicker(watched)
	defer late.Stop()
	defer look.Stop()
	for {
		select {
		case l, more := <-s.lines:
			return s.answer(l, more)
		case err := <-sent:
			if sent = nil; err != nil && !s.within(stragglers) {
				return protocol.Reply{}, faultf("it has closed its stdin")
			}
		case <-late.C:
			return protocol.Reply{}, faultf("it has not answered for %v", s.timeout)
		case <-look.C:
			if err := check(); err != nil {
				return protocol.Reply{}, err
			}
		case <-ctx.Done():
			return protocol.Reply{}, ctx.Err()
		}
	}
}

// answer reads a line of stdout as the answer to the last message. more is false at the end of
// stdout.
func (s *session) answer(l line, more bool) (protocol.Reply, error) {
	if !more {
		return protocol.Reply{}, s.silent("instead of answering")
	}
	if errors.Is(l.err, errHalfLine) {
		return protocol.Reply{}, s.silent("in the middle of a line")
	}
	if l.err != nil {
		return protocol.Reply{}, &fault{err: l.err}
	}
	reply, err := protocol.ParseReply(l.text)
	switch {
	case err != nil:
		begin := l.text[:min(len(l.text), 100)]
		return reply, faultf("a line on its stdout is not an answer: %s: %s",
			printable.Line(string(begin)), printable.Text(err.Error()))
	case reply.Seq < s.seq:
		return reply, faultf("it answers message %d again or too late: the last one is %d", reply.Seq, s.seq)
	case reply.Seq > s.seq:
		return reply, faultf("it answers message %d, which it was never sent: the last one is %d", reply.Seq, s.seq)
	case reply.Type == protocol.TypeOK && reply.Precision != "":
		return reply, faultf("it declares the precision %q with %q: it goes with %q",
			printable.Line(reply.Precision), protocol.TypeOK, protocol.TypeStarted)
	}
	return reply, nil
}

// silent is the fault of a child whose stdout has ended: it has ended too, or has closed its
// stdout.
func (s *session) silent(when string) error {
	if !s.within(stragglers) {
		return faultf("it has closed its stdout %s", when)
	}
	return &fault{fmt.Errorf("it ended (%s) %s", s.state, when), true}
}

// fail ends a child after a fault, and adds its last lines of stderr to the error.
func (s *session) fail(err error) error {
	s.end(0, impatience)
	return withStderr(err, s.stderr)
}

// withStderr adds the last lines of stderr to an error.
func withStderr(err error, t *tail) error {
	lines := t.lines()
	if len(lines) == 0 {
		return err
	}
	return fmt.Errorf("%w\nlast lines of stderr:\n  %s", err, strings.Join(lines, "\n  "))
}

// stop ends a child after all cases.
func (s *session) stop() {
	text, err := protocol.Line(protocol.Stop{Type: protocol.TypeStop, Seq: s.next()})
	if err == nil {
		go func() { _, _ = s.stdin.Write(text) }()
	}
	s.end(politeness, politeness)
}
