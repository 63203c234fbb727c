package child

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/printable"
	"github.com/difftest/difftest/harness/internal/protocol"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Subject is an implementation in child processes. It is a [subject.Runner].
type Subject struct {
	command Command
	about   subject.About
	root    *scratch
	idle    chan *slot // the slots whose children serve no case now

	mu      sync.Mutex
	known   *protocol.Started // the description of the first child, nil until it has started
	refused error             // the reason why the last start failed
	tries   int               // failed starts in a row
}

// slot holds one child, nil if it must be started first.
type slot struct{ *session }

// attempts bounds the failed starts in a row, so that a useless program is not started for every
// case.
const attempts = 3

// New starts an implementation. Call Close in the end. New fails if the command is not a program,
// if the child declares another precision than the command, or if no folder can be made. A child
// that does not start is no error of New: each of its cases fails.
func New(ctx context.Context, c Command) (*Subject, error) {
	if len(c.Args) == 0 {
		return nil, errors.New("no command")
	}
	if _, err := exec.LookPath(c.Args[0]); err != nil {
		return nil, err
	}
	root, err := newScratch()
	if err != nil {
		return nil, err
	}
	c.Jobs = max(c.Jobs, 1)
	s := &Subject{command: c, root: root, idle: make(chan *slot, c.Jobs)}
	s.about = subject.About{Name: strings.Join(c.Args, " "), Precision: c.Precision, Jobs: c.Jobs}
	first := &slot{}
	if !c.Once {
		first.session, _ = s.open(ctx) // each case reports the fault
	}
	s.idle <- first
	for range c.Jobs - 1 {
		s.idle <- &slot{}
	}
	if err := s.introduce(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// introduce takes the name and the precision of the first child over.
func (s *Subject) introduce() error {
	if s.known == nil {
		return nil
	}
	s.about.Name = s.known.Name
	if s.known.Version != "" {
		s.about.Name += " " + s.known.Version
	}
	if s.known.Language != "" {
		s.about.Name += " (" + s.known.Language + ")"
	}
	s.about.Name = printable.Line(s.about.Name)
	declared, err := subject.ParsePrecision(s.known.Precision)
	if err != nil {
		return fmt.Errorf("%s: %w", s.about.Name, err)
	}
	flag := s.command.Precision
	if s.known.Precision != "" && flag != subject.Float32 && flag != declared {
		return fmt.Errorf("precision: %q, but the child declares %q", flag, s.known.Precision)
	}
	if flag == subject.Float32 {
		s.about.Precision = declared
	}
	return nil
}

// About names the child by its own words, or by its command if it has given no name.
func (s *Subject) About() subject.About { return s.about }

// Close ends all children and removes their folders. It must not be called while a case runs.
func (s *Subject) Close() error {
	for range s.command.Jobs {
		if c := <-s.idle; c.session != nil {
			c.stop()
		}
	}
	return s.root.remove()
}

// Run has a child compute the case twice and returns the first output. In Once mode a new process
// computes the case once. A child that breaks the protocol is ended, and the next case gets a new
// one.
func (s *Subject) Run(ctx context.Context, c *fixture.Case) subject.Result {
	place := <-s.idle
	defer func() { s.idle <- place }()
	return s.run(ctx, place, c, (*session).twice)
}

// Series has one child compute the cases in order, once each, and returns their outputs. It fails
// if a case has no output, or if ctx ends.
func (s *Subject) Series(ctx context.Context, cases ...*fixture.Case) (outputs []*attention.Tensor, err error) {
	place := <-s.idle
	defer func() { s.idle <- place }()
	for _, c := range cases {
		r := s.run(ctx, place, c, (*session).single)
		if r.Err != nil {
			return nil, r.Err
		}
		outputs = append(outputs, r.Output)
	}
	return outputs, nil
}

// run has a case computed by the child of a slot, or in Once mode by a process of its own.
func (s *Subject) run(ctx context.Context, place *slot, c *fixture.Case, how serving) (r subject.Result) {
	root, err := s.root.folder()
	if err != nil {
		return subject.Result{Err: fmt.Errorf("%w: %w", subject.ErrNotRun, err)}
	}
	f, err := newFolder(root, c)
	if err != nil {
		return subject.Result{Err: fmt.Errorf("%w: %w", subject.ErrNotRun, err)}
	}
	defer func() {
		if err := f.remove(); err != nil && r.Err == nil {
			r = subject.Result{Err: fmt.Errorf("the folder of the case cannot be removed: %w", err)}
		}
	}()
	if s.command.Once {
		return s.once(ctx, f)
	}
	if place.session == nil {
		if place.session, err = s.open(ctx); err != nil {
			return subject.Result{Err: err}
		}
	}
	place.stderr.clear()
	r, err = place.serve(ctx, f, how)
	if err != nil {
		err, place.session = place.fail(err), nil
		return subject.Result{Err: err}
	}
	return r
}

// serving is a way to have a case computed: single or twice.
type serving func(*session, context.Context, *folder) (subject.Result, error)

// serve has a case computed. It fails if the child can serve no other case.
func (s *session) serve(ctx context.Context, f *folder, how serving) (r subject.Result, err error) {
	if lacks := s.started.Lacks(f.c); lacks != "" {
		return subject.Result{Err: fmt.Errorf("%w: the child does not offer %s", subject.ErrNotOffered, lacks)}, nil
	}
	r, err = how(s, ctx, f)
	if broken := (*fault)(nil); errors.As(err, &broken) || ctx.Err() != nil {
		return r, err
	}
	if err != nil {
		r = subject.Result{Err: err}
	}
	return r, s.done(ctx, f)
}

// single runs a case once.
func (s *session) single(ctx context.Context, f *folder) (subject.Result, error) {
	out, err := s.forward(ctx, f)
	return subject.Result{Output: out.Output, Weights: out.Weights}, err
}

// twice runs a case two times. The child must write its output anew the second time.
func (s *session) twice(ctx context.Context, f *folder) (subject.Result, error) {
	first, err := s.forward(ctx, f)
	if err != nil {
		return subject.Result{}, err
	}
	r := subject.Result{Output: first.Output, Weights: first.Weights, Findings: f.changes()}
	if r.Trace, err = f.trace(); err != nil {
		return subject.Result{}, err
	}
	second, err := s.forward(ctx, f)
	switch broken := (*fault)(nil); {
	case errors.As(err, &broken) || ctx.Err() != nil:
		return subject.Result{}, err
	case errors.Is(err, subject.ErrNotOffered):
		return subject.Result{}, errors.New("second forward: it skips the case that it has just computed")
	case err != nil:
		return subject.Result{}, fmt.Errorf("second forward: %w", err)
	}
	if len(r.Findings) == 0 {
		r.Findings = f.changes()
	}
	steady := subject.SameOutput(f.c, first.Output, second.Output) && subject.Same(first.Weights, second.Weights)
	if len(r.Findings) == 0 && !steady {
		r.Findings = []string{subject.Unsteady}
	}
	return r, nil
}

// forward runs a case once and takes its output.
func (s *session) forward(ctx context.Context, f *folder) (attention.Outputs, error) {
	if err := s.run(ctx, f); err != nil {
		return attention.Outputs{}, err
	}
	return f.outputs()
}

// open starts a child, unless too many starts in a row have failed.
func (s *Subject) open(ctx context.Context) (*session, error) {
	s.mu.Lock()
	known, refused := s.known, s.refused
	if s.tries < attempts {
		refused = nil
	}
	s.mu.Unlock()
	if refused != nil {
		return nil, refused
	}
	child, err := open(ctx, s.command)
	if err == nil && known != nil {
		if err = child.same(*known); err != nil {
			err = child.fail(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil && s.known == nil:
		s.known, s.tries = &child.started, 0
	case err == nil:
		s.tries = 0
	case ctx.Err() == nil:
		s.refused = err
		s.tries++
	}
	if err != nil {
		return nil, err
	}
	return child, nil
}
