package catalogue_test

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/edits"
)

// MISTAKES.md equals the output of difftest mistakes --markdown.
func TestMarkdownIsUpToDate(t *testing.T) {
	want, err := os.ReadFile("../../MISTAKES.md")
	require.NoError(t, err)
	require.True(t, string(want) == markdown(t),
		"MISTAKES.md is out of date: go run ./cmd/difftest mistakes --markdown > harness/MISTAKES.md")
}

func markdown(t *testing.T) string {
	t.Helper()
	var text bytes.Buffer
	require.NoError(t, catalogue.Markdown(&text, edits.Mistakes))
	return text.String()
}

// Each mistake and each identity has a section that a link #id leads to. Every link leads
// somewhere.
func TestMarkdownLinks(t *testing.T) {
	text := markdown(t)
	headings := map[string]int{}
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		headings[strings.ReplaceAll(heading[1], " ", "-")]++
	}
	linked := map[string]int{}
	for _, link := range regexp.MustCompile(`\(#([^)]*)\)`).FindAllStringSubmatch(text, -1) {
		require.Equal(t, 1, headings[link[1]], "the link #%s", link[1])
		linked[link[1]]++
	}
	for _, m := range catalogue.Mistakes {
		require.Equal(t, 1, headings[m.ID], m.ID)
		require.Positive(t, linked[m.ID], "no link to %s", m.ID)
	}
	for _, i := range catalogue.Identities {
		require.Equal(t, 1, headings[i.ID], i.ID)
		require.Positive(t, linked[i.ID], "no link to %s", i.ID)
	}
}

// A section shows everything that there is to say. Special characters are escaped.
func TestMarkdownSections(t *testing.T) {
	text := markdown(t)
	require.Contains(t, text, `
### causal-missing

**The causal mask missing**

- wrong: Every query sees the keys after it.
- fix: Hide key j from query i where j > i, before the softmax, also where a padding mask is given.
- needs: a causal mask
- reported: [facebookresearch/xformers#103](https://github.com/facebookresearch/xformers/issues/103)
`)
	require.Contains(t, text, `read as \[Q; K; V]`)
	require.Contains(t, text, `H\*E`)
	require.Contains(t, text, "it is the mistake\n  [bias-twice](#bias-twice).")
}

// Lines fit 100 columns, except for a single link. No line of a text begins like a list, a heading
// or a quotation.
func TestMarkdownLines(t *testing.T) {
	item := regexp.MustCompile(`^(- (\[|wrong: |fix: |why: |needs: |reported: |variant: )|#{1,3} \S)`)
	for line := range strings.Lines(markdown(t)) {
		line = strings.TrimSuffix(line, "\n")
		if len([]rune(line)) > 100 {
			require.Regexp(t, `^(- reported:|  ) ?\S+$`, line)
		}
		if text := strings.TrimPrefix(line, "  "); regexp.MustCompile(`^([-+*=#>]|\d+[.)])( |$)`).MatchString(text) {
			require.Regexp(t, item, line)
		}
	}
}
