package report

import (
	"fmt"
	"io"
	"strings"
)

// Markdown writes a report as a page in GitHub's Markdown: the counts, the causes, and each failure
// folded away.
func Markdown(w io.Writer, r *Report) error {
	m := &markdown{}
	m.begin(r)
	for _, result := range r.Results {
		if result.Verdict == Fail || result.Verdict == Error {
			m.failure(result)
		}
	}
	_, err := io.WriteString(w, m.String())
	return err
}

type markdown struct{ strings.Builder }

func (m *markdown) line(format string, args ...any) { fmt.Fprintf(m, format+"\n", args...) }

// begin writes everything but the failures.
func (m *markdown) begin(r *Report) {
	verdict := "passed"
	if !r.OK() || len(r.Broken) > 0 || r.Interrupted || r.Failure != nil {
		verdict = "failed"
	}
	m.line("# difftest: %s %s\n", escapeMarkdown(r.Subject), verdict)
	if r.Failure != nil {
		m.line("%s\n", escapeMarkdown(r.Failure.Message))
		return
	}
	m.line("%s against %s%s. %s.\n",
		counted(max(r.Selected, len(r.Results)), "case"), escapeMarkdown(r.Suite), partOf(r.Shard), counts(r))
	if r.Interrupted {
		m.line("**Interrupted** after %d of %s.\n", len(r.Results), counted(r.Selected, "case"))
	}
	if len(r.Causes) > 0 {
		m.line("| cause | what | explains | fix |\n|---|---|---|---|")
		for _, c := range r.Causes {
			m.line("| `%s` | %s | %s | %s |",
				strings.ReplaceAll(c.ID, "`", ""), escapeMarkdown(c.Title), counted(len(c.Failures), "failure"),
				escapeMarkdown(c.Fix))
		}
		m.line("")
	}
	for _, s := range r.Shared {
		for _, sentence := range s.Sentences() {
			m.line("* %s", escapeMarkdown(sentence))
		}
		m.line("")
	}
	for _, b := range r.Broken {
		m.line("**Broken:** %s\n", escapeMarkdown(b.Case))
		m.fenced(b.Err)
	}
}

// failure writes one case, folded.
func (m *markdown) failure(r Result) {
	words := headline(r)
	if r.Verdict == Error {
		words = "no output"
	}
	m.line("<details><summary><b>%s</b>: %s</summary>\n", escapeMarkdown(r.Case), escapeMarkdown(words))
	m.fenced(plain(r))
	m.line("</details>\n")
}

// fenced writes text as it is, behind a fence that is longer than any in the text.
func (m *markdown) fenced(text string) {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	m.line("%s\n%s\n%s\n", fence, strings.ToValidUTF8(text, "\uFFFD"), fence)
}

// counts writes how often each verdict occurred.
func counts(r *Report) string {
	words := []string{
		fmt.Sprintf("%d passed", r.Count(Pass)),
		fmt.Sprintf("%d failed", r.Count(Fail)+r.Count(Error)),
	}
	for _, more := range []struct {
		n    int
		word string
	}{{r.Count(Known), "known"}, {r.Count(Skip), "skipped"}, {len(r.Broken), "broken"}} {
		if more.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", more.n, more.word))
		}
	}
	return strings.Join(words, ", ")
}

// escapeMarkdown makes a line of text that neither Markdown nor HTML reads anything into.
func escapeMarkdown(s string) string {
	var b strings.Builder
	for _, c := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case c < ' ' || c == 0x7F:
			b.WriteByte(' ')
		case c == '<':
			b.WriteString("&lt;")
		case c == '>':
			b.WriteString("&gt;")
		case c == '&':
			b.WriteString("&amp;")
		case c == '@':
			b.WriteString("&#64;") // mentions nobody
		case strings.ContainsRune("\\`*_{}[]()#+!|~$", c):
			fmt.Fprintf(&b, "&#%d;", c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}
