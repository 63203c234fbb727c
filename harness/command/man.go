package command

import (
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages into a folder",
		Long: `man writes a page for man(1) of difftest, and one of each command, into DIR. The
folder is made if it is missing.`,
		Example: `  difftest man ~/.local/share/man/man1`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return exit(exitBroken, "%w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // a date would differ from run to run
			date := builtFrom()
			header := &doc.GenManHeader{Section: "1", Source: toolName(), Manual: "difftest", Date: &date}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return exit(exitBroken, "%w", err)
			}
			return nil
		},
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs),
	}
}

// builtFrom returns the time of the revision that the binary was built from; 1970 if it is unknown.
func builtFrom() time.Time {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if at, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				return at.UTC()
			}
		}
	}
	return time.Unix(0, 0).UTC()
}
