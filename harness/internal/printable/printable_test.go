package printable_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/printable"
)

func TestIs(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "W_Q": true, "müde 注意": true, `"quoted"`: true,
		"a\nb": false, "a\tb": false, "\x1b[31m": false, "\xff": false, "\u202e": false, "\ufffd": false,
	} {
		require.Equal(t, want, printable.Is(text), "%q", text)
	}
}

func TestName(t *testing.T) {
	for name, want := range map[string]string{
		"W_Q": "W_Q", "": "", "a b": "a b", `a"b`: `"a\"b"`, "a\nb": `"a\nb"`, "\x1b[2J": `"\x1b[2J"`, "\xff": `"\xff"`,
	} {
		require.Equal(t, want, printable.Name(name))
	}
}

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a\tb": "a    b", "\x1b[31mred": `\x1b[31mred`, "a\nb\r": `a\nb\r`, "\xffü": `\xffü`, `a"b`: `a"b`,
		"\u202eabc": `\u202eabc`,
	} {
		require.Equal(t, want, printable.Line(text))
	}
	require.Equal(t, strings.Repeat("x", 401)+"...", printable.Line(strings.Repeat("x", 1<<20)))
	require.Equal(t, strings.Repeat("x", 401), printable.Line(strings.Repeat("x", 401)))
}

func TestLines(t *testing.T) {
	require.Nil(t, printable.Lines(""))
	require.Equal(t, []string{"a", "", `\ab`}, printable.Lines("a \t\r\n\n\ab"))
	text := strings.Repeat("first\n", 100) + strings.Repeat("last\n", 19) + "end"
	require.Equal(t, strings.Repeat("last\n", 19)+"end", printable.Text(text))
}

// Whatever the text, a terminal shows each line as it is.
func FuzzLines(f *testing.F) {
	f.Add("a\x1b[2J\nb\xff\t\u202e")
	f.Fuzz(func(t *testing.T, text string) {
		lines := printable.Lines(text)
		if len(lines) > 20 {
			t.Fatalf("%d lines", len(lines))
		}
		for _, line := range append(lines, printable.Line(text), printable.Name(text)) {
			if strings.ContainsFunc(line, func(r rune) bool { return r != '\ufffd' && !printable.Is(string(r)) }) {
				t.Fatalf("%q is not printable", line)
			}
		}
	})
}

func TestMarked(t *testing.T) {
	require.Equal(t, "a\n\tb é\uFFFD[2J\uFFFD\uFFFD", printable.Marked("a\n\tb é\x1b[2J\u202e\xff"))
}

func TestMessage(t *testing.T) {
	require.Equal(t, "a\nb\\x1b[2J\\u202e", printable.Message("a\nb\x1b[2J\u202e"))
	require.Less(t, len(printable.Message(strings.Repeat("a", 1<<20))), 2100)
	long := printable.Message(strings.Repeat("abc\n", 1<<20))
	require.Less(t, len(long), 1<<17)
	require.True(t, strings.HasSuffix(long, "\n..."))
}
