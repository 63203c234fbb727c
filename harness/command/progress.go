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

// A command shows its progress after patience, and renews the line every interval.
const (
	patience = time.Second
	interval = 100 * time.Millisecond
)

// followed returns the context of cmd. If stderr is a terminal, it shows the progress of the work
// done in that context until done is called.
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
	show := func(p progress.Update) { line.show(p, time.Now()) }
	return progress.With(cmd.Context(), show), line.erase
}

// progressLine is the one line of a terminal that shows progress.
type progressLine struct {
	mu    sync.Mutex
	out   io.Writer
	width int // of the terminal, in characters
	next  time.Time
	shown int // the number of characters on the line
}

// show writes the progress, unless the line is younger than interval.
func (l *progressLine) show(p progress.Update, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.next) {
		return
	}
	l.next = now.Add(interval)
	text := p.Stage
	if p.Total > 0 {
		text += fmt.Sprintf(": %d of %d", p.Done, p.Total)
	}
	text = text[:min(len(text), l.width)]
	fmt.Fprint(l.out, "\r", text, strings.Repeat(" ", max(0, l.shown-len(text))))
	l.shown = len(text)
}

// erase clears the line.
func (l *progressLine) erase() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shown > 0 {
		fmt.Fprint(l.out, "\r", strings.Repeat(" ", l.shown), "\r")
		l.shown = 0
	}
}
