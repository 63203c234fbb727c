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
	// politeness is how long a child may take to end after it was told to stop, and again after it was sent SIGTERM.
	politeness = 2 * time.Second
	// impatience is the same for one that has done wrong.
	impatience = 300 * time.Millisecond
	// stragglers is how long the pipes of a child that has ended are still read, in case a process that left
	// the group holds them.
	stragglers = time.Second
)

// process is a running child, with its pipes and all that it starts.
type process struct {
	group  group
	stdin  *os.File
	lines  <-chan line   // of its stdout, read as they are asked for
	stderr *tail         // its last words
	ended  chan struct{} // closed when the child has ended and its group is killed
	state  string        // how it ended: "exit status 1"; set before ended is closed

	leftovers bool           // whether others of the group ran on when the child had ended; as state
	unread    chan struct{}  // closed when nobody asks for lines any more
	readers   sync.WaitGroup // of stdout and stderr
	outputs   []*os.File     // their ends of the pipes
}

// line is one line of stdout, or why there is none.
type line struct {
	text []byte
	err  error
}

// start runs a program whose stdout is lines of the protocol, or just more of its last words.
func start(args []string, stdout stream) (*process, error) {
	cmd := exec.Command(args[0], args[1:]...)
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

// stream says what a child's stdout is for.
type stream int

const (
	messages stream = iota
	words
)

// pipes are stdin, stdout and stderr of a child.
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

// read begins to read what the child writes. What it writes to stderr is always taken, so that it never waits.
func (p *process) read(stdout stream) {
	lines := make(chan line)
	p.lines = lines
	p.readers.Add(2)
	go func() {
		defer p.readers.Done()
		defer close(lines)
		if stdout == words {
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

// scan hands over one line after another, as fast as they are asked for and no faster.
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

// wholeLines is bufio.ScanLines, but for a last line without an end, which is an error, and for the \r of a line's
// end, which JSON ignores.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, errHalfLine
	}
	return 0, nil, nil
}

// wait sees the child end, and ends what it leaves behind.
func (p *process) wait(cmd *exec.Cmd) {
	_ = cmd.Wait()
	p.state = cmd.ProcessState.String()
	p.leftovers = p.group.alive()
	p.group.kill()
	for _, f := range p.outputs {
		_ = f.SetReadDeadline(time.Now().Add(stragglers)) // Windows has none: there nobody leaves the job
	}
	close(p.ended)
}

// within says whether the child ends in that time.
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

// end leaves nothing of the child: it may end by itself first, if it is given time, then it is asked, then it is killed.
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
