package command

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of difftest, Go and PyTorch",
		Long: `version prints the version of difftest, the version of Go that built it, the
version of PyTorch that made the embedded cases, and the hash of the suite. Two
binaries with the same hash have the same cases. A binary that was built in a
checkout also names the revision, and reports modified files.`,
		Args: cobra.NoArgs,
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
			fmt.Fprintf(cmd.OutOrStdout(), "difftest %s\ngo       %s, %s/%s\ncases    %d by PyTorch %s\nsuite    %s\n",
				versionText(info), info.GoVersion, runtime.GOOS, runtime.GOARCH,
				len(names), c.Provenance.Torch, suiteHash(fixtures.FS, names))
			return nil
		},
	}
}

// release is the version that the linker sets in a binary that is built to be given away:
// -X github.com/difftest/difftest/harness/command.release=v1.2.0.
var release string

// versionText returns the version of the main module: "v1.2.0", or "(devel)" if the build has none.
// In a checkout, the revision follows a version that does not hold it, and "modified" follows if
// files differ from the revision: "(devel), revision 0123456789ab, modified".
func versionText(info *debug.BuildInfo) string {
	if release != "" {
		return release
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	version, dirty := strings.CutSuffix(info.Main.Version, "+dirty")
	if version == "" {
		version = "(devel)"
	}
	if revision := settings["vcs.revision"]; revision != "" && version == "(devel)" {
		version += ", revision " + revision[:min(len(revision), 12)]
	}
	if dirty || settings["vcs.modified"] == "true" {
		version += ", modified"
	}
	return version
}
