package child

import (
	"bytes"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// What is kept, and shown, of a child's stderr.
const (
	tailBytes = 16 << 10
	tailLines = 20
	tailWidth = 400 // bytes of a line
)

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p[max(0, len(p)-tailBytes):]...)
	if extra := len(t.data) - tailBytes; extra > 0 {
		t.data = append(t.data[:0], t.data[extra:]...)
	}
	return len(p), nil
}

// clear forgets what was written for another case.
func (t *tail) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = t.data[:0]
}

// lines are the last ones, as [readable] text.
func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return readable(string(bytes.TrimSpace(t.data)))
}

// readable is the last lines of a text by somebody who is not trusted: a terminal shows it as it is. Long lines
// are cut; what is not printable is written as Go would quote it.
func readable(text string) []string {
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	for i, l := range lines {
		lines[i] = printable(strings.TrimRight(l, " \t\r"))
	}
	return lines
}

// quoted is an error that may hold words of a child.
func quoted(err error) string { return strings.Join(readable(err.Error()), "\n") }

func printable(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		if b.Len() > tailWidth {
			return b.String() + "..."
		}
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '\t':
			b.WriteString("    ")
		case r == utf8.RuneError && n == 1, !unicode.IsPrint(r):
			quoted := strconv.Quote(s[:n])
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}
