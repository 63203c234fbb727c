package report

import (
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
