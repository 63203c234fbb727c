package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness"
	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/npy"
	"github.com/difftest/difftest/harness/report"
)

func checkCommand() *cobra.Command {
	var suite suiteFlag
	var output outputFlags
	var weights string
	cmd := &cobra.Command{
		Use:   "check CASE OUTPUT.npy",
		Short: "Judge an output that was made elsewhere, with the full diagnosis",
		Long: `check holds an output of a case, saved as a .npy file by any program in any language, against
PyTorch's result, as if the built-in implementation had given it. An output of bfloat16 is saved as its
bits, uint16. Attention weights, of a case that has them, are judged where --weights names them.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return check(cmd, &suite, &output, checked{args[0], args[1], weights})
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return []cobra.Completion{"npy"}, cobra.ShellCompDirectiveFilterFileExt
			}
			return suite.complete(cmd, args, word)
		},
	}
	suite.add(cmd)
	output.add(cmd)
	cmd.Flags().StringVar(&weights, "weights", "", "attention weights that belong to the output, a .npy file")
	_ = cmd.MarkFlagFilename("weights", "npy")
	return cmd
}

// checked is what a command line asks to judge.
type checked struct{ pattern, output, weights string }

func check(cmd *cobra.Command, suite *suiteFlag, output *outputFlags, what checked) error {
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
	result, err := harness.Judge(cmd.Context(), c, a.Shape, got)
	if err != nil {
		return exit(exitBroken, "%w", err)
	}
	result.Rerun = "difftest check " + c.Name + " " + shellWord(what.output) + suite.flag()
	if what.weights != "" {
		if err := checkWeights(&result, c, what.weights); err != nil {
			return err
		}
		result.Rerun += " --weights " + shellWord(what.weights)
	}
	return finish(cmd.OutOrStdout(), format, &report.Report{
		Subject: what.output,
		Suite:   c.Provenance.Source(),
		Results: []report.Result{result},
	})
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
	findings, err := harness.JudgeWeights(c, a.Shape, got)
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
	a, err := npy.Parse(data)
	if err != nil {
		return nil, nil, exit(exitBroken, "%s: %w", file, err)
	}
	if precision == fixture.BFloat16 && a.DType == fixture.Uint16 {
		if a, err = a.BFloat16(); err != nil {
			return nil, nil, exit(exitBroken, "%s: %w", file, err)
		}
	}
	values, err := a.Float64s()
	if err != nil {
		return nil, nil, exit(exitBroken, "%s: %w", file, err)
	}
	return a, values, nil
}
