package report_test

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/joshdk/go-junit"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/report"
)

// hostile is text that a subject may print: control characters, broken UTF-8, the ends of XML,
// Markdown and HTML, and commands for a GitHub runner.
const hostile = "]]></error><x a=\"\x00\x1b[31m\xff\uFFFE\r\n::error::fake\n" +
	"```\n# head\n<script>alert(1)</script> | @all %0A"

func formatted(t *testing.T, format report.Format, r *report.Report) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, format(&b, r))
	return b.String()
}

// Another program's parser reads what JUnit writes, and finds the same counts.
func TestJUnitIsReadByAnotherParser(t *testing.T) {
	r := sample()
	r.Took, r.Results[0].Took = 3*time.Second, 1500*time.Millisecond
	suites, err := junit.Ingest([]byte(formatted(t, report.JUnit, r)))
	require.NoError(t, err)
	require.Len(t, suites, 2)
	require.Equal(t, "a", suites[0].Name)
	status := map[string]junit.Status{}
	for _, s := range suites {
		for _, test := range s.Tests {
			status[test.Classname+"/"+test.Name] = test.Status
		}
	}
	require.Equal(t, map[string]junit.Status{
		"a/right": junit.StatusPassed, "a/skipped": junit.StatusSkipped, "a/known": junit.StatusSkipped,
		"a/crash": junit.StatusError, "a/wrong": junit.StatusFailed, "difftest/a/broken": junit.StatusError,
	}, status)
	require.Equal(t, 1500*time.Millisecond, suites[0].Tests[0].Duration)
	require.Contains(t, suites[0].Tests[4].Error.Error(), "worst     [0, 1, 0]")

	r.Failure, r.Interrupted, r.Selected = &report.Failure{Status: 3, Message: "no suite"}, true, 9
	require.Contains(t, formatted(t, report.JUnit, r), `message="interrupted after 5 of 9 cases"`)
	require.Contains(t, formatted(t, report.JUnit, r), `message="no suite"`)
}

// Whatever a subject prints, each format stays valid.
func TestFormatsHoldAnyBytes(t *testing.T) {
	r := sample()
	r.Subject, r.Results[3].Err, r.Results[1].Err = hostile, hostile, hostile
	r.Results[4].Findings = []string{hostile}
	r.Broken[0] = report.Broken{Case: hostile, Err: hostile}
	text := formatted(t, report.JUnit, r)
	dec := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := dec.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
	suites, err := junit.Ingest([]byte(text))
	require.NoError(t, err)
	require.Len(t, suites, 2, "no suite of the subject's own")
	require.Contains(t, suites[0].Tests[3].Error.Error(), "<script>alert(1)</script>", "as text")

	text = formatted(t, report.Markdown, r)
	head, rest, _ := strings.Cut(text, "\n")
	require.NotContains(t, head, "<script>")
	require.NotContains(t, head, "@all")
	require.Contains(t, rest, "\n````\n", "the fence is longer than the one in the text")

	for line := range strings.Lines(formatted(t, report.GitHub, r)) {
		require.True(t, strings.HasPrefix(line, "::error title=difftest"), line)
		require.NotContains(t, line, "\x1b")
	}
}

// GitHub shows ten annotations: nine of them, and how many more there are.
func TestGitHubCountsTheRest(t *testing.T) {
	r := &report.Report{}
	for range 12 {
		r.Results = append(r.Results, report.Result{Case: "a/b", Verdict: report.Error, Err: "boom"})
	}
	text := formatted(t, report.GitHub, r)
	require.Equal(t, 10, strings.Count(text, "\n"))
	require.True(t, strings.HasSuffix(text, "::error title=difftest::3 more\n"), text)
	r.Results = r.Results[:10]
	require.NotContains(t, formatted(t, report.GitHub, r), "more")
	r.Results = nil
	require.Empty(t, formatted(t, report.GitHub, r))
}

// A step summary fits what GitHub takes, and says what it leaves out.
func TestStepSummaryFits(t *testing.T) {
	r := sample()
	require.Equal(t, formatted(t, report.Markdown, r), formatted(t, report.StepSummary, r))
	r.Results[3].Err = strings.Repeat("a line of a long output\n", 10_000)
	for range 4 {
		r.Results = append(r.Results, r.Results[3])
	}
	text := formatted(t, report.StepSummary, r)
	require.LessOrEqual(t, len(text), 900<<10)
	require.Contains(t, text, "more failures have no room here.")
	require.Contains(t, text, "5 cases"[1:])
}

func TestMarkdownTellsTheCauses(t *testing.T) {
	r := sample()
	r.Causes = []report.Cause{{
		ID: "causal-missing", Title: "the causal mask missing", Fix: "Hide later keys.", Failures: []string{"a/wrong"},
	}}
	text := formatted(t, report.Markdown, r)
	require.Contains(t, text, "# difftest: mine failed\n\n5 cases against PyTorch 2.15.0. "+
		"1 passed, 2 failed, 1 known, 1 skipped, 1 broken.\n")
	require.Contains(t, text, "| `causal-missing` | the causal mask missing | 1 failure | Hide later keys. |\n")
	require.Contains(t, text, "<details><summary><b>a/wrong</b>: unclear</summary>\n\n```\nFAIL a/wrong  unclear\n")
	require.Contains(t, text, "**Broken:** a/broken\n\n```\na/broken/case.json: one\n")
	r = &report.Report{Results: r.Results[:1], Suite: "PyTorch", Subject: "mine"}
	require.Contains(t, formatted(t, report.Markdown, r),
		"# difftest: mine passed\n\n1 case against PyTorch. 1 passed, 0 failed.\n")
}
