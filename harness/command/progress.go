package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/difftest/difftest/harness/internal/progress"
)

// patience is how long a command may take before it says how far it is, and between two times that it does.
const (
	patience = time.Second
	between  = 100 * time.Millisecond
)

// followed gives the context of a command, whose progress is shown on a terminal until done is called.
func followed(cmd *cobra.Command) (ctx context.Context, done func()) {
	f, isFile := cmd.ErrOrStderr().(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return cmd.Context(), func() {}
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 2 {
		width = 80
	}
	line := &progressLine{out: f, width: width - 1, next: time.Now().Add(patience)}
	return progress.With(cmd.Context(), func(p progress.Update) { line.show(p, time.Now()) }), line.erase
}

// progressLine is one line of a terminal, written over and over.
type progressLine struct {
	mu    sync.Mutex
	out   io.Writer
	width int // of the terminal, in characters
	next  time.Time
	shown int // characters that stand there
}

// show writes how far the work is, unless it is too early to.
func (l *progressLine) show(p progress.Update, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.next) {
		return
	}
	l.next = now.Add(between)
	text := p.Stage
	if p.Total > 0 {
		text += fmt.Sprintf(": %d of %d", p.Done, p.Total)
	}
	text = text[:min(len(text), l.width)]
	fmt.Fprint(l.out, "\r", text, strings.Repeat(" ", max(0, l.shown-len(text))))
	l.shown = len(text)
}

// erase leaves the line as it was.
func (l *progressLine) erase() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shown > 0 {
		fmt.Fprint(l.out, "\r", strings.Repeat(" ", l.shown), "\r")
		l.shown = 0
	}
}
