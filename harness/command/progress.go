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

// everyMinute is how often a pipe hears of the progress.
const everyMinute = time.Minute

// follower shows the progress of the work that is done in its context.
type follower struct {
	terminal *progressLine // nil if stderr is no terminal
	lines    *progressLines
}

// followed returns the context of cmd and a follower of the work done in it. If stderr is a
// terminal, one line shows the progress until it is paused; otherwise there is a line every minute.
func followed(cmd *cobra.Command) (context.Context, *follower) {
	now := time.Now()
	if width := terminalWidth(cmd.ErrOrStderr()); width > 0 {
		line := &progressLine{out: cmd.ErrOrStderr(), width: width - 1, pace: pace{next: now.Add(patience)}}
		show := func(p progress.Update) { line.show(p, time.Now()) }
		return progress.With(cmd.Context(), show), &follower{terminal: line}
	}
	lines := &progressLines{out: cmd.ErrOrStderr(), pace: pace{next: now.Add(everyMinute)}}
	show := func(p progress.Update) { lines.show(p, time.Now()) }
	return progress.With(cmd.Context(), show), &follower{lines: lines}
}

// pause clears the line of a terminal, for other text or for good. The next progress writes it
// anew.
func (f *follower) pause() {
	if f.terminal != nil {
		f.terminal.erase()
	}
}

// terminalWidth returns how many characters a line of the terminal w has; 0 if w is no terminal.
func terminalWidth(w io.Writer) int {
	f := fileOf(w)
	if f == nil || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 2 {
		return 80
	}
	return width
}

// fileOf returns the file that w writes to; nil if it is none.
func fileOf(w io.Writer) *os.File {
	if counted, ok := w.(*countedWriter); ok {
		w = counted.Writer
	}
	f, _ := w.(*os.File)
	return f
}

// progressLines writes a line of progress from time to time.
type progressLines struct {
	mu  sync.Mutex
	out io.Writer
	pace
}

// pace is when progress is shown next, and the number of judged cases.
type pace struct {
	next  time.Time
	cases string
}

// due returns the progress as text. It is empty until the next time has come.
func (l *pace) due(p progress.Update, now time.Time, every time.Duration) string {
	if p.Stage == progress.Cases {
		l.cases = fmt.Sprintf("%d of %d cases, ", p.Done, p.Total)
	}
	if now.Before(l.next) {
		return ""
	}
	l.next = now.Add(every)
	return progressText(l.cases, p)
}

func (l *progressLines) show(p progress.Update, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if text := l.due(p, now, everyMinute); text != "" {
		fmt.Fprintln(l.out, "difftest: "+text)
	}
}

// progressText writes the number of judged cases, and the work that goes on.
func progressText(cases string, p progress.Update) string {
	if p.Stage == progress.Cases {
		return strings.TrimSuffix(cases, ", ")
	}
	text := cases + p.Stage
	if p.Total > 0 {
		text += fmt.Sprintf(": %d of %d", p.Done, p.Total)
	}
	return text
}

// progressLine is the one line of a terminal that shows progress.
type progressLine struct {
	mu    sync.Mutex
	out   io.Writer
	width int // of the terminal, in characters
	shown int // the number of characters on the line
	pace
}

// show writes the progress, unless the line is younger than interval.
func (l *progressLine) show(p progress.Update, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.due(p, now, interval)
	if text == "" {
		return
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
