package child

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/difftest/difftest/harness/internal/protocol"
)

const (
	// politeness is the time to end that a child has after the message stop, and again after
	// SIGTERM.
	politeness = 2 * time.Second
	// impatience is the time to end after SIGTERM for a child that has done wrong.
	impatience = 300 * time.Millisecond
	// stragglers bounds the time for which the pipes of an ended child are still read. A process
	// that left the group may hold them.
	stragglers = time.Second
)

// process is a running child with its pipes and its group.
type process struct {
	group  group
	stdin  *os.File
	lines  <-chan line   // of stdout, read one by one as they are received
	stderr *tail         // the end of stderr
	ended  chan struct{} // closed when the child has ended and its group is killed

	// state and leftovers are set before ended is closed. state is the way in which the child
	// ended: "exit status 1". leftovers is true if other processes of the group outlived it.
	state     string
	leftovers bool

	unread  chan struct{}  // closed when no more lines will be received
	readers sync.WaitGroup // the goroutines that read stdout and stderr
	outputs []*os.File     // stdout and stderr
}

// line is one line of stdout, or the reason why there is none.
type line struct {
	text []byte
	err  error
}

// start runs a program with some variables of the environment, and begins to read its stdout and
// stderr.
func start(args, env []string, stdout stream) (*process, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = env
	apart(cmd)
	pipes, err := newPipes()
	if err != nil {
		return nil, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = pipes.theirs[0], pipes.theirs[1], pipes.theirs[2]
	err = cmd.Start()
	closeAll(pipes.theirs)
	if err != nil {
		closeAll(pipes.ours)
		return nil, err
	}
	g, err := groupOf(cmd.Process)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		closeAll(pipes.ours)
		return nil, fmt.Errorf("watch what the child starts: %w", err)
	}
	p := &process{
		group: g, stdin: pipes.ours[0], outputs: pipes.ours[1:], stderr: &tail{},
		ended: make(chan struct{}), unread: make(chan struct{}),
	}
	p.read(stdout)
	go p.wait(cmd)
	return p, nil
}

// stream is the use of a child's stdout.
type stream int

const (
	messages  stream = iota // lines of the protocol
	discarded               // anything, which nobody reads
)

// pipes are the two ends of stdin, stdout and stderr of a child.
type pipes struct{ ours, theirs []*os.File }

func newPipes() (pipes, error) {
	var p pipes
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(append(p.ours, p.theirs...))
			return pipes{}, err
		}
		if i == 0 {
			r, w = w, r
		}
		p.ours, p.theirs = append(p.ours, r), append(p.theirs, w)
	}
	return p, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// read begins to read stdout and stderr. Lines of stdout are read as they are received. stderr is
// always read, so that the child never waits.
func (p *process) read(stdout stream) {
	lines := make(chan line)
	p.lines = lines
	p.readers.Add(2)
	go func() {
		defer p.readers.Done()
		defer close(lines)
		if stdout == discarded {
			_, _ = io.Copy(io.Discard, p.outputs[0])
			return
		}
		p.scan(p.outputs[0], lines)
	}()
	go func() {
		defer p.readers.Done()
		_, _ = io.Copy(p.stderr, p.outputs[1])
	}()
}

// scan sends one line after another. It reads no line ahead.
func (p *process) scan(r io.Reader, lines chan<- line) {
	hand := func(l line) bool {
		select {
		case lines <- l:
			return true
		case <-p.unread:
			return false
		}
	}
	s := bufio.NewScanner(r)
	s.Buffer(nil, protocol.MaxLine+1)
	s.Split(wholeLines)
	for s.Scan() {
		if !hand(line{text: bytes.Clone(s.Bytes())}) {
			return
		}
	}
	switch err := s.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		hand(line{err: fmt.Errorf("it writes a line of more than %d bytes", protocol.MaxLine)})
	case errors.Is(err, errHalfLine):
		hand(line{err: errHalfLine})
	}
}

var errHalfLine = errors.New("its last line has no end")

// wholeLines is bufio.ScanLines with two changes: a last line without an end is an error, and a \r
// at the end of a line stays, which JSON ignores.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, errHalfLine
	}
	return 0, nil, nil
}

// wait waits until the child ends, then kills the rest of its group.
func (p *process) wait(cmd *exec.Cmd) {
	_ = cmd.Wait()
	p.state = cmd.ProcessState.String()
	p.leftovers = p.group.alive()
	p.group.kill()
	for _, f := range p.outputs {
		// This fails on Windows, where no process leaves the job.
		_ = f.SetReadDeadline(time.Now().Add(stragglers))
	}
	close(p.ended)
}

// within reports whether the child has ended, or ends within d.
func (p *process) within(d time.Duration) bool {
	select {
	case <-p.ended:
		return true
	default:
	}
	select {
	case <-p.ended:
		return true
	case <-time.After(d):
		return false
	}
}

// end ends the child and its group and closes the pipes. The child may end by itself within alone,
// and after SIGTERM within asked. Then it is killed.
func (p *process) end(alone, asked time.Duration) {
	_ = p.stdin.Close()
	if !p.within(alone) {
		p.group.ask()
		if !p.within(asked) {
			p.group.kill()
			<-p.ended
		}
	}
	close(p.unread)
	p.readers.Wait()
	closeAll(p.outputs)
	p.group.close()
}
