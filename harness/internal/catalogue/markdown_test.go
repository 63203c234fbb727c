package catalogue_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
)

// The committed table is that of the catalogue. difftest mistakes --markdown renews it.
func TestMarkdownIsUpToDate(t *testing.T) {
	want, err := os.ReadFile("../../MISTAKES.md")
	require.NoError(t, err)
	var got bytes.Buffer
	require.NoError(t, catalogue.Markdown(&got))
	require.True(t, bytes.Equal(want, got.Bytes()),
		"MISTAKES.md is not what the catalogue says: go run ./cmd/difftest mistakes --markdown > harness/MISTAKES.md")
}

// Every line of a table has as many cells as its head, whatever the texts hold.
func TestMarkdownTables(t *testing.T) {
	var text bytes.Buffer
	require.NoError(t, catalogue.Markdown(&text))
	cells, rows := 0, 0
	for line := range strings.Lines(text.String()) {
		if !strings.HasPrefix(line, "|") {
			cells = 0
			continue
		}
		n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if cells == 0 {
			cells = n
		}
		require.Equal(t, cells, n, line)
		rows++
	}
	require.Greater(t, rows, len(catalogue.Mistakes)+len(catalogue.Identities))
	require.Contains(t, text.String(), "| `causal-missing` | the causal mask missing |")
	require.Contains(t, text.String(), "[facebookresearch/xformers#103](https://github.com/facebookresearch/xformers/issues/103)")
	require.Contains(t, text.String(), "| `alibi-by-key` |")
}
