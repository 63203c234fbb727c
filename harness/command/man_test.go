package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// Every command has a page of the manual, which names all of its flags.
func TestManNamesEveryFlag(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	var stdout, stderr strings.Builder
	require.Zero(t, Main([]string{"man", dir}, nil, &stdout, &stderr), "%s", &stderr)
	flags := 0
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
		text, err := os.ReadFile(filepath.Join(dir, name+".1"))
		require.NoError(t, err)
		page := strings.ReplaceAll(string(text), `\-`, "-")
		require.Contains(t, page, `.TH "`+strings.ToUpper(name)+`" "1"`)
		require.NotContains(t, page, "Auto generated")
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			flags++
			require.Contains(t, page, `--`+f.Name, name)
		})
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(rootCommand())
	require.Greater(t, flags, 50)
}
