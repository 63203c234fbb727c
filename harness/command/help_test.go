package command

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// The help of every command fits a terminal of 80 columns, and explains the command in sentences.
func TestHelpFitsATerminal(t *testing.T) {
	commands := []*cobra.Command{rootCommand()}
	commands = append(commands, commands[0].Commands()...)
	require.Len(t, commands, 19)
	for _, c := range commands {
		t.Run(c.Name(), func(t *testing.T) {
			args := append(strings.Fields(c.CommandPath())[1:], "--help")
			var stdout, stderr bytes.Buffer
			require.Zero(t, Main(args, nil, &stdout, &stderr))
			require.Empty(t, stderr.String())
			require.True(t, strings.HasPrefix(c.Long, c.Name()+" "), "the help begins with the name")
			require.True(t, strings.HasPrefix(stdout.String(), c.Long))
			for line := range strings.Lines(stdout.String()) {
				require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), 80, line)
			}
		})
	}
}
