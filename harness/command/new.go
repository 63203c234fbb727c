package command

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/fresh"
)

func newCommand() *cobra.Command {
	config, into, model := fresh.Default(), "", modelFlags{flag: "model"}
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a case of any shape, without PyTorch",
		Long: `new writes a case into a folder, in the format of the embedded cases. The inputs
are random and follow the rules of the embedded ones. The truth and its noise
come from the oracle of difftest in float64, not from PyTorch. In a checkout,
"pyref/regenerate --run -m pyref verify DIR" fills in PyTorch's results later.

A case is scaled_dot_product_attention, or a layer with --layer or any option
of a layer. In a layer, keys beyond the queries are a cache. With --model, the
case has other inputs for a captured module: --batch, --tokens and --mask
padding. The module was captured with --vary batch,tokens. new overwrites
nothing.`,
		Example: `  difftest new mine/tail --keys 33 --head-dim 80
  difftest new mine/decode --heads 32 --kv-heads 8 --head-dim 128 \
    --queries 7 --keys 300 --causal --rope half --window 64
  difftest new mine/long --model models/llama --batch 2 --tokens 33
  difftest --fixtures cases -- python mine.py`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := model.newCase(cmd, args[0], config)
			if err != nil {
				return err
			}
			switch err := fixture.Write(into, c); {
			case errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrInvalid):
				return exit(exitUsage, "%w", err)
			case err != nil:
				return exit(exitBroken, "%w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\nTo run it:\n  difftest --fixtures %s --case %s -- CMD\n",
				filepath.Join(into, filepath.FromSlash(args[0])), shellWord(into), shellWord(args[0]))
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	addFields(cmd.Flags(), &config)
	cmd.Flags().StringVar(&model.name, "model", "", "make inputs for the module in case `NAME`")
	cmd.Flags().IntVar(&config.Tokens, "tokens", 0, "tokens of a module `N`")
	model.suite.add(cmd)
	cmd.Flags().StringVar(&into, "into", "cases", "the suite to add the case to, in folder `DIR`")
	_ = cmd.MarkFlagDirname("into")
	return cmd
}

// addFields gives each field of a configuration its flag.
func addFields(f *pflag.FlagSet, c *fresh.Config) {
	f.SortFlags = false
	for _, field := range c.Fields() {
		switch v := field.Value.(type) {
		case *int:
			f.IntVar(v, field.Name, *v, field.Usage+" `N`")
		case *float64:
			f.Float64Var(v, field.Name, *v, field.Usage+" `X`")
		case *uint64:
			f.Uint64Var(v, field.Name, *v, field.Usage+" `N`")
		case *bool:
			f.BoolVar(v, field.Name, *v, field.Usage)
		case *string:
			f.StringVar(v, field.Name, *v, field.Usage+" `WORD`: "+strings.Join(field.Words, ", "))
			if field.Name == "causal" {
				f.Lookup(field.Name).NoOptDefVal = field.Words[0]
			}
		}
	}
}
