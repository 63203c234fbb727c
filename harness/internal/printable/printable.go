// Package printable makes text by programs and files that nobody vouches for safe to print: a
// terminal shows every character of the result, and none can move its cursor or change its colours.
package printable

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// What Lines and Line keep of a text.
const (
	maxLines = 20
	maxWidth = 400 // bytes of a line
)

// Is reports whether a terminal shows every character of text as itself. Control characters, the
// newline among them, are not; nor are invalid UTF-8 and U+FFFD, which stands for it.
func Is(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) })
}

// Name returns a short text as it is, or as a quoted Go string if quotes are needed to show it.
func Name(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// Text returns the last 20 lines of text, each as [Line] writes it.
func Text(text string) string { return strings.Join(Lines(text), "\n") }

// Lines returns the last 20 lines of text, each as [Line] writes it. Blanks at their ends are cut.
// It returns nil if text is empty.
func Lines(text string) []string {
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	lines = lines[max(0, len(lines)-maxLines):]
	for i, line := range lines {
		lines[i] = Line(strings.TrimRight(line, " \t\r"))
	}
	return lines
}

// Marked returns the whole text, in which U+FFFD stands for each character that a terminal does not
// show. Newlines and tabs stay.
func Marked(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || strconv.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, text)
}

// Message returns the text of an error: its lines as they are, but with escapes for what a terminal
// does not show. Lines after about 2,000 bytes, and text after 64 KiB, are replaced by "...".
func Message(text string) string {
	const most, width = 1 << 16, 2000
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		if b.Len() > most {
			b.WriteString("...\n")
			break
		}
		b.WriteString(escaped(line, width) + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Line returns text with every character that a terminal does not show written as an escape of Go,
// such as \x1b or \n. A tab becomes four blanks. Text after about 400 bytes is replaced by "...".
func Line(text string) string { return escaped(text, maxWidth) }

func escaped(text string, width int) string {
	var b strings.Builder
	for len(text) > 0 {
		if b.Len() > width {
			return b.String() + "..."
		}
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == '\t':
			b.WriteString("    ")
		case r == utf8.RuneError && n == 1, !strconv.IsPrint(r):
			quoted := strconv.Quote(text[:n])
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteString(text[:n])
		}
		text = text[n:]
	}
	return b.String()
}
