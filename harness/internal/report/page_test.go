package report_test

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/report"
)

// The page loads nothing and runs nothing: its policy allows its own style alone, by its hash.
func TestPageIsOneFile(t *testing.T) {
	text := formatted(t, report.HTML, sampleWithFits())
	policy := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(text)
	require.Len(t, policy, 2)
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(text)
	require.Len(t, style, 2)
	sum := sha256.Sum256([]byte(style[1]))
	require.Equal(t, "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+
		"'; base-uri 'none'; form-action 'none'", html.UnescapeString(policy[1]))
	require.NotRegexp(t, `(?i)<script|style="|https?:|//[a-z]|\bsrc=| on[a-z]+=`, text)
	require.Equal(t, 1, strings.Count(text, `<rect class="s7" x="1" y="1"`), "0.75 recovered for query 1 and key 1")
	require.Equal(t, 2, strings.Count(text, `<rect class="s9" x="0" y="0"`), "recovered and expected")
}

func TestPageTellsVerdictAndCauses(t *testing.T) {
	r := sample()
	r.Causes = []report.Cause{{
		ID: "causal-missing", Title: "the causal mask missing", Fix: "Hide later keys.", Failures: []string{"a/wrong"},
	}}
	text := formatted(t, report.HTML, r)
	for _, want := range []string{
		`<span class="fail">Failed</span>: mine`,
		"1 passed, 2 failed, 1 known, 1 skipped, 1 broken, against PyTorch 2.15.0",
		"<b>Evidence</b> in its first case: no known mistake<", "<b>Fix.</b> Hide later keys.", `aria-label="a/wrong: fail"`,
		"Broken: a/broken",
	} {
		require.Contains(t, text, want)
	}
	for _, link := range regexp.MustCompile(`href="#([^"]*)"`).FindAllStringSubmatch(text, -1) {
		require.Equal(t, 1, strings.Count(text, `id="`+link[1]+`"`), "each link leads to one section")
	}
	r = &report.Report{Results: r.Results[:1], Suite: "PyTorch", Subject: "mine"}
	require.Contains(t, formatted(t, report.HTML, r), `<span class="pass">Passed</span>: mine`)
	r = &report.Report{Failure: &report.Failure{Status: 3, Message: "no suite"}}
	require.Contains(t, formatted(t, report.HTML, r), "<p>no suite</p>")
}

// Nothing that a subject prints becomes markup.
func TestPageQuotesWhatIsPrinted(t *testing.T) {
	r := sample()
	r.Subject, r.Results[3].Err, r.Results[3].Case = hostile, hostile, hostile
	r.Broken[0] = report.Broken{Case: hostile, Err: hostile}
	text := formatted(t, report.HTML, r)
	require.NotContains(t, text, "<script")
	require.NotContains(t, text, "<x a=")
	require.Contains(t, text, "&lt;script&gt;alert(1)&lt;/script&gt;")
}
