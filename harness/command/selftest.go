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
		Short: "Judge the diagnosis: make every known mistake on fresh cases and count what it is called",
		Long: `selftest draws cases by chance and makes every known mistake on them, and pairs of mistakes, and mistakes
that the diagnosis is not told of. It counts what their outputs are called, and whether correct
implementations are refused. A seed gives the same table on every machine.

With --planted it judges, besides, what "python -m pyref plant --fresh SEED DIR" wrote: the same mistakes,
made in PyTorch by code that shares nothing with the catalogue.

Exit status: 0 all bars are reached, 1 something has a wrong name or a bar is missed, 2 wrong usage,
3 it cannot be carried out.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := selftest.Options{Seed: seed, Extent: selftest.Full, Case: number, Planted: directory(planted)}
			if quick {
				o.Extent = selftest.Quick
			}
			if number >= o.Extent.Cases {
				return exit(exitUsage, "--case %d: there are %d, from 0", number, o.Extent.Cases)
			}
			r, err := selftest.Run(cmd.Context(), o)
			if err != nil {
				return exit(exitBroken, "%w", err)
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
	cmd.Flags().Uint64Var(&seed, "seed", selftest.DefaultSeed, "what cases and mistakes are drawn from")
	cmd.Flags().BoolVar(&quick, "quick", false, "fewer cases: less than half a minute on two cores")
	cmd.Flags().IntVar(&number, "case", -1, "that case of the seed alone, by its number")
	cmd.Flags().StringVar(&planted, "planted", "", "judge also what pyref planted in `DIR`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "for programs")
	return cmd
}

// directory is a folder as a file system; none has none.
func directory(path string) fs.FS {
	if path == "" {
		return nil
	}
	return os.DirFS(path)
}
