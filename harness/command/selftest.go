package command

import (
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/selftest"
)

func selftestCommand() *cobra.Command {
	var seed uint64
	var quick, asJSON bool
	var number int
	var planted string
	cmd := &cobra.Command{
		Use:   "selftest",
		Short: "Test the diagnosis with planted mistakes",
		Long: `selftest draws random cases and makes every known mistake on them, then pairs of
mistakes, then mistakes that the diagnosis does not know. It counts right and
wrong names, and correct implementations that fail. A seed gives the same table
on every machine. A share of names misses its bar if a diagnosis at the bar
would give so few names in less than one run of a hundred.

With --planted selftest also judges a folder that
"python -m pyref plant --fresh SEED DIR" wrote. It holds the same mistakes, made
in PyTorch by code that shares nothing with the catalogue.

Exit status:
  0  the diagnosis is as good as it must be
  1  a wrong name was given, or too few mistakes were named
  2  wrong usage
  3  the test cannot be carried out`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := selftest.Options{Seed: seed, Extent: selftest.Full, Case: number, Planted: directory(planted)}
			if quick {
				o.Extent = selftest.Quick
			}
			if number >= o.Extent.Cases {
				return exit(exitUsage, "--case %d: want 0 to %d", number, o.Extent.Cases-1)
			}
			r, err := unlessInterrupted(cmd.Context(), func() (*selftest.Result, error) {
				return selftest.Run(cmd.Context(), o)
			})
			if err != nil {
				return interrupted(cmd.Context(), exit(exitBroken, "%w", err))
			}
			write := selftest.Text
			if asJSON {
				write = selftest.JSON
			}
			if err := write(cmd.OutOrStdout(), r); err != nil {
				return exit(exitBroken, "%w", err)
			}
			if len(r.Missed()) > 0 {
				return &exitError{status: exitFailed}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&seed, "seed", selftest.DefaultSeed, "draw cases and mistakes from seed `N`")
	f.BoolVar(&quick, "quick", false, "draw fewer cases: about a minute on two cores")
	f.IntVar(&number, "case", -1, "draw only case `N` of the seed, counted from 0")
	f.StringVar(&planted, "planted", "", "also judge the mistakes that pyref planted in `DIR`")
	f.BoolVar(&asJSON, "json", false, "write JSON, for programs")
	return cmd
}

// directory returns a folder as a file system; nil if path is empty.
func directory(path string) fs.FS {
	if path == "" {
		return nil
	}
	return os.DirFS(path)
}
