package report

import (
	"fmt"
	"io"
	"strings"
)

// annotations is how many annotations of one kind GitHub shows of a step. The last one counts the
// rest.
const annotations = 10

// GitHub writes annotations for a GitHub workflow: the causes, then failures that have none, then
// cases without output and broken files. Nothing that a subject prints becomes a command.
func GitHub(w io.Writer, r *Report) error {
	type annotation struct{ title, text string }
	var all []annotation
	for _, c := range r.Causes {
		all = append(all, annotation{
			"difftest: " + c.ID,
			fmt.Sprintf("%s: explains %s. %s", c.Title, counted(len(c.Failures), "failure"), c.Fix),
		})
	}
	caused := map[string]bool{}
	for _, c := range r.Causes {
		for _, name := range c.Failures {
			caused[name] = true
		}
	}
	for _, result := range r.Results {
		switch {
		case result.Verdict == Fail && !caused[result.Case]:
			all = append(all, annotation{"difftest: " + result.Case, plain(result)})
		case result.Verdict == Error:
			all = append(all, annotation{"difftest: " + result.Case, "no output: " + result.Err})
		}
	}
	for _, b := range r.Broken {
		all = append(all, annotation{"difftest: broken: " + b.Case, b.Err})
	}
	if r.Failure != nil {
		all = append(all, annotation{"difftest", r.Failure.Message})
	}
	if n := len(all); n > annotations {
		all = append(all[:annotations-1], annotation{"difftest", fmt.Sprintf("%d more", n-annotations+1)})
	}
	for _, a := range all {
		_, err := fmt.Fprintf(w, "::error title=%s::%s\n", commandProperty(a.title), commandData(a.text))
		if err != nil {
			return err
		}
	}
	return nil
}

// commandData escapes the text of a workflow command.
func commandData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(clean(s))
}

// commandProperty escapes a property of a workflow command.
func commandProperty(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(commandData(s))
}

// summaryBytes is the size of a step summary. GitHub refuses more than 1 MiB.
const summaryBytes = 900 << 10

// StepSummary writes Markdown for the summary of a GitHub step, with as many failures as it takes.
func StepSummary(w io.Writer, r *Report) error {
	m := &markdown{}
	m.begin(r)
	left := 0
	for _, result := range r.Results {
		if result.Verdict != Fail && result.Verdict != Error {
			continue
		}
		one := &markdown{}
		one.failure(result)
		if left > 0 || m.Len()+one.Len() > summaryBytes-100 {
			left++
			continue
		}
		m.WriteString(one.String())
	}
	if left > 0 {
		m.line("%d more failures have no room here.", left)
	}
	text := m.String()
	if len(text) > summaryBytes {
		text = strings.ToValidUTF8(text[:summaryBytes], "")
	}
	_, err := io.WriteString(w, text)
	return err
}

// clean replaces bytes and characters that a log does not show.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' && !strings.ContainsRune("\t\n\r", c) || c == 0x7F {
			return '\uFFFD'
		}
		return c
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
