package report

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWrap(t *testing.T) {
	for _, tc := range []struct {
		line  string
		width int
		want  []string
	}{
		{"", 5, []string{""}},
		{"a  b", 5, []string{"a  b"}},
		{"one two three", 7, []string{"one two", "three"}},
		{"a verylongword b", 6, []string{"a", "verylongword", "b"}},
		{"±± ±±", 2, []string{"±±", "±±"}},
	} {
		require.Equal(t, tc.want, wrap(tc.line, tc.width), tc.line)
	}
}

func TestFirst(t *testing.T) {
	lines := []string{"one", "two", "three"}
	require.Equal(t, lines, first(lines, 3, 80))
	require.Equal(t, []string{"one", "two ..."}, first(lines, 2, 80))
	require.Empty(t, first(lines, -1, 80))
	require.Equal(t, []string{"one", "two", "three"}, lines)
}

func TestCut(t *testing.T) {
	require.Equal(t, "fits", cut("fits", 4))
	require.Equal(t, "too ...", cut("too long", 7))
	require.Equal(t, "±± ...", cut("±±±±±±±±", 6))
	require.Equal(t, " ...", cut("long", 1))
}

// On a terminal the line of a failure is cut, whose whole text stands below; no other line is.
func TestLinesOfCasesOnATerminal(t *testing.T) {
	var b strings.Builder
	p := NewPrinter(&b, TextOptions{Width: 30})
	require.NoError(t, p.Begin(&Report{Subject: "mine", Suite: "PyTorch"}, []string{"a/first", "b/second-case"}))
	require.NoError(t, p.Case(Result{Case: "a/first", Verdict: Error, Err: "a long story of an error\nat line 2"}))
	require.NoError(t, p.Case(Result{Case: "b/second-case", Verdict: Skip, Err: "not ported, and nobody knows when"}))
	require.Equal(t, "mine against PyTorch, 2 cases\n\n"+
		"ERROR a/first        a lon ...\n"+
		"skip  b/second-case  not ported, and nobody knows when\n", b.String())
}
