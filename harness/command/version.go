package command

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Name the versions of difftest, of Go, and of the PyTorch that made the embedded cases",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				return exit(exitBroken, "this binary holds no build information")
			}
			names, err := fixture.Names(fixtures.FS)
			if err != nil {
				return exit(exitBroken, "%w", err)
			}
			c, err := fixture.Read(fixtures.FS, names[0])
			if err != nil {
				return exit(exitBroken, "%w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "difftest %s, %s, %d cases by PyTorch %s\n",
				info.Main.Version, info.GoVersion, len(names), c.Provenance.Torch)
			return nil
		},
	}
}
