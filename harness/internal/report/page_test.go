package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"image/png"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/trace"
)

// sampleWithPictures has everything that the page draws.
func sampleWithPictures() *report.Report {
	r := sampleWithFits()
	wrong := &r.Results[0]
	wrong.Got = []float64{1, 12345678}
	wrong.Want = compare.Expected{Shape: []int{1, 2, 1}, Value: []float64{1, -2}, Sigma: []float64{0.125, 0.125}}
	wrong.Masks = []report.Mask{{Queries: 2, Keys: 2, Sees: []bool{true, false, true, true}}}
	wrong.Diagnosis.Distances = []replay.Distance{
		{ID: "causal-missing", Residual: 1e-8}, {ID: "scale-twice", Residual: 0.1},
		{ID: "mlp-missing", Where: "layers.1", Residual: 0.3},
	}
	wrong.Diagnosis.Matches = []replay.Match{{
		Mistakes: []catalogue.Mistake{{ID: "causal-missing"}}, Residual: 1e-8, Margin: 1e7,
	}}
	wrong.Config = "causal\tyes\nscale\t1/sqrt(E), the default"
	wrong.Parameters = []report.Parameter{
		{Key: "k_proj.weight", Shape: []int{2, 2}, ReadBack: "transposed"},
		{Key: "o_proj.weight", Shape: []int{2, 2}, ReadBack: "unchanged"},
		{Key: "q_proj.weight", Shape: []int{2, 2}, ReadBack: "unchanged"},
	}
	wrong.Trace = &trace.Trace{First: 1, Lines: []trace.Line{
		{Path: "layers.0", Class: "Layer", Comparison: r.Results[0].PyTorch},
		{Path: "layers.1.mlp", Class: "MLP", Comparison: wrong.Comparison},
		{Path: "layers.2", Problem: "shape (1), want (2): not compared"},
	}}
	return r
}

// The page loads nothing, and runs its own script alone: its policy allows its style and its script
// by their hashes, and images inside the page.
func TestPageIsOneFile(t *testing.T) {
	text := formatted(t, report.HTML, sampleWithPictures())
	policy := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(text)
	require.Len(t, policy, 2)
	source := func(tag string) string {
		inside := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllStringSubmatch(text, -1)
		require.Len(t, inside, 1, tag)
		sum := sha256.Sum256([]byte(inside[0][1]))
		return tag + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; "
	}
	require.Equal(t, "default-src 'none'; img-src data:; "+source("style")+source("script")+
		"base-uri 'none'; form-action 'none'", html.UnescapeString(policy[1]))
	text = regexp.MustCompile(`(base64,|data-values=")[^"]*`).ReplaceAllString(text, "")
	require.NotRegexp(t, `(?i)style="|https?:|//[a-z]|\bsrc="[^d]| on[a-z]+=`, text)
}

// pictures returns the colours of every picture of a page, by its title.
func pictures(t *testing.T, text string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	image := regexp.MustCompile(`<img src="data:image/png;base64,([^"]*)"[^>]* alt="([^"]*)"`)
	for _, match := range image.FindAllStringSubmatch(text, -1) {
		data, err := base64.StdEncoding.DecodeString(html.UnescapeString(match[1]))
		require.NoError(t, err)
		img, err := png.Decode(bytes.NewReader(data))
		require.NoError(t, err)
		size := img.Bounds().Size()
		for i := range size.X * size.Y {
			r, g, b, _ := img.At(i%size.X, i/size.X).RGBA()
			all[match[2]] = append(all[match[2]], fmt.Sprintf("%02x%02x%02x", r>>8, g>>8, b>>8))
		}
	}
	return all
}

// Every picture has the colours of its values.
func TestPageDrawsValues(t *testing.T) {
	const white, blue, red, half, beyond = "ffffff", "0b54a0", "b2182b", "d88b95", "6e006e"
	drawn := pictures(t, formatted(t, report.HTML, sampleWithPictures()))
	require.Equal(t, map[string][]string{
		"mask of every batch element, first head": {blue, white, blue, blue},
		"yours batch 0":    {half, beyond},
		"expected batch 0": {half, blue},
		"distance batch 0": {white, red},
		"weights recovered from your output in batch 0, head 0": {red, white, "ebc5ca", "c55160"},
		"expected weights in batch 0, head 0":                   {red, white, half, half},
	}, drawn)
}

// The charts tell every explanation and every distance in words, too.
func TestPageTellsExplanations(t *testing.T) {
	text := html.UnescapeString(formatted(t, report.HTML, sampleWithPictures()))
	require.Regexp(t, `<circle class="best"[^>]*><title>causal-missing leaves 1e-08</title>`, text)
	require.Regexp(t, `<circle class="dot"[^>]*><title>scale-twice leaves 0.1</title>`, text)
	require.Contains(t, text, "<p>Causal yes; scale 1/sqrt(E), the default.</p>")
	require.Contains(t, text, "<title>mlp-missing in layers.1 leaves 0.3</title>")
	require.Contains(t, text, `<text class="right" x="74" y="24">causal-missing</text>`)
	require.Contains(t, text, "The next explanation leaves 10000000 times as much.")
	require.Contains(t, text, "<tr><td>scale-twice</td><td>0.1</td></tr>")
	require.Contains(t, text, "z from 5.6e+05 to 1e+06: 1 of 2 elements, normal noise gives 0")
	require.Regexp(t, `<tr class="first"><td class="depth2">layers.1.mlp</td><td>MLP</td><td>FAIL, the first wrong module</td>`, text)
	require.Contains(t, text, "<td>shape (1), want (2): not compared</td>")
	require.Contains(t, text, `data-values="`)
}

// The table of the state dict says what was read back, and which other values explain the output.
func TestPageListsTheStateDict(t *testing.T) {
	r := sampleWithPictures()
	text := formatted(t, report.HTML, r)
	for _, row := range []string{
		`<tr class="first"><td>k_proj.weight</td><td>(2, 2)</td><td>transposed</td><td></td></tr>`,
		`<tr><td>o_proj.weight</td><td>(2, 2)</td><td>unchanged</td><td>do not explain the output</td></tr>`,
		`<tr class="first"><td>q_proj.weight</td><td>(2, 2)</td><td>unchanged</td><td>explain the output</td></tr>`,
	} {
		require.Contains(t, text, row)
	}
	wrong := &r.Results[0]
	for i := range wrong.Parameters {
		wrong.Parameters[i].ReadBack = ""
	}
	text = formatted(t, report.HTML, r)
	require.NotContains(t, text, "read back")
	require.Contains(t, text, "<td>q_proj.weight</td><td>(2, 2)</td><td>explain the output</td></tr>")
	wrong.Diagnosis.Fits = nil
	require.NotContains(t, formatted(t, report.HTML, r), "State dict", "names and shapes alone say nothing")
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
	require.Equal(t, 1, strings.Count(text, "<script"), "its own")
	require.NotContains(t, text, "<x a=")
	require.Contains(t, text, "&lt;script&gt;alert(1)&lt;/script&gt;")
}
