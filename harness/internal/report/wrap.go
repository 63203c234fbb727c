package report

import (
	"strings"
	"unicode/utf8"
)

// wrap breaks a line at blanks into lines of at most width characters. A longer word has a line of
// its own. Blanks between the words of a line that fits stay as they are.
func wrap(line string, width int) []string {
	if utf8.RuneCountInString(line) <= width {
		return []string{line}
	}
	var lines []string
	now := ""
	for _, word := range strings.Fields(line) {
		switch {
		case now == "":
			now = word
		case utf8.RuneCountInString(now)+1+utf8.RuneCountInString(word) > width:
			lines = append(lines, now)
			now = word
		default:
			now += " " + word
		}
	}
	return append(lines, now)
}

// wrapAll wraps each of several lines.
func wrapAll(lines []string, width int) []string {
	var all []string
	for _, line := range lines {
		all = append(all, wrap(line, width)...)
	}
	return all
}

// first returns at most n lines. Where it leaves some out, the last one ends with "...".
func first(lines []string, n, width int) []string {
	if len(lines) <= n {
		return lines
	}
	if n <= 0 {
		return nil
	}
	kept := append([]string{}, lines[:n]...)
	kept[n-1] = cut(kept[n-1]+" ...", width)
	return kept
}

// cut shortens a line to width characters. A line that was longer ends with "...".
func cut(line string, width int) string {
	const dots = "..."
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	runes := []rune(strings.TrimSuffix(line, " "+dots))
	return strings.TrimRight(string(runes[:max(0, min(len(runes), width-len(dots)-1))]), " ") + " " + dots
}
