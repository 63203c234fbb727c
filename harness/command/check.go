package command

import (
	"context"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
)

func checkCommand() *cobra.Command {
	var flags judgeFlags
	var weights string
	cmd := &cobra.Command{
		Use:   "check DIR | check CASE OUTPUT.npy",
		Short: "Judge outputs that were made elsewhere, with the full diagnosis",
		Long: `check holds outputs, saved as .npy files by any program in any language, against PyTorch's results, as
if the built-in implementation had given them. An output of bfloat16 is saved as its bits, uint16.

DIR holds a folder for every case, with output.npy in it, and weights.npy where the case has attention
weights: what difftest export wrote may lie there, too. Cases without an output are skipped, with a reason
where reply.json gives one; any other file is an error. Of one output of a case, the attention weights are judged where --weights names them.`,
		Example: `  difftest check DIR                    every output in the folder
  difftest check seed/causal output.npy   one output`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if weights != "" {
					return exit(exitUsage, "--weights goes with CASE OUTPUT.npy; of a folder, weights.npy beside output.npy is judged")
				}
				return checkFolder(cmd, &flags, args[0])
			}
			if flags.selection.given() || flags.known.file != "" || flags.known.update {
				return exit(exitUsage, "--case, --skip and --known are about outputs in a folder, not about the one case %s", args[0])
			}
			return checkOne(cmd, &flags.suite, &flags.output, checked{args[0], args[1], weights})
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return []cobra.Completion{"npy"}, cobra.ShellCompDirectiveFilterFileExt
			}
			names, directive := flags.suite.complete(cmd, args, word)
			return names, directive &^ cobra.ShellCompDirectiveNoFileComp
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&weights, "weights", "", "attention weights that belong to the one output, a .npy file")
	_ = cmd.MarkFlagFilename("weights", "npy")
	return cmd
}

// checkFolder judges every output in a folder. A link in it that leads elsewhere cannot be followed.
func checkFolder(cmd *cobra.Command, flags *judgeFlags, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return exit(exitUsage, "%w; one output is checked with difftest check CASE OUTPUT.npy", err)
	}
	defer root.Close()
	return flags.judge(cmd, func(ctx context.Context, suite fs.FS, cases []string) (*report.Report, error) {
		r, err := check.Folder(ctx, suite, root.FS(), cases...)
		if r != nil {
			r.Subject = dir
		}
		return r, err
	}, func(name string) string {
		return "difftest check " + shellWord(dir) + " --case " + name + flags.suite.flag()
	})
}

// checked is what a command line asks to judge.
type checked struct{ pattern, output, weights string }

func checkOne(cmd *cobra.Command, suite *suiteFlag, output *outputFlags, what checked) error {
	format, err := output.format(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	c, err := suite.read(what.pattern)
	if err != nil {
		return err
	}
	a, got, err := readOutput(what.output, c.Precision)
	if err != nil {
		return err
	}
	ctx, done := followed(cmd)
	result, err := judge.Outputs(ctx, c, &oracle.Array{Shape: a.Shape, Value: got}, nil)
	done()
	if err != nil {
		return interrupted(ctx, exit(exitBroken, "%w", err))
	}
	result.Rerun = "difftest check " + c.Name + " " + shellWord(what.output) + suite.flag()
	if what.weights != "" {
		if err := checkWeights(&result, c, what.weights); err != nil {
			return err
		}
		result.Rerun += " --weights " + shellWord(what.weights)
	}
	return interrupted(ctx, finish(cmd.OutOrStdout(), format, &report.Report{
		Subject: what.output,
		Suite:   c.Provenance.Source(),
		Results: []report.Result{result},
	}))
}

// checkWeights adds to a result what is wrong with the attention weights.
func checkWeights(result *report.Result, c *fixture.Case, file string) error {
	if c.Weights == nil {
		return exit(exitUsage, "--weights: %s has no attention weights to hold them against", c.Name)
	}
	a, got, err := readOutput(file, c.Precision)
	if err != nil {
		return err
	}
	findings, err := judge.Weights(c, oracle.Precision{}, a.Shape, got)
	if err != nil {
		return exit(exitBroken, "%w", err)
	}
	if len(findings) > 0 {
		result.Findings, result.Verdict = findings, report.Fail
	}
	return nil
}

// readOutput reads a .npy file of floating-point numbers, which are the bits of bfloat16 in a case of
// that precision if they are uint16.
func readOutput(file string, precision fixture.DType) (*npy.Array, []float64, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, exit(exitBroken, "%w", err)
	}
	defer f.Close()
	data, err := fixture.ReadAll(f)
	if err != nil {
		return nil, nil, exit(exitBroken, "%s: %w", file, err)
	}
	a, values, err := npy.ParseOutput(data, precision)
	if err != nil {
		return nil, nil, exit(exitBroken, "%s: %w", file, err)
	}
	return a, values, nil
}
