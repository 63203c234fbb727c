package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness"
	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/report"
)

func checkCommand() *cobra.Command {
	var suite suiteFlag
	var output outputFlags
	cmd := &cobra.Command{
		Use:   "check CASE OUTPUT.npy",
		Short: "Judge an output that was made elsewhere, with the full diagnosis",
		Long: `check holds an output of a case, saved as a .npy file by any program in any language, against
PyTorch's result, as if the built-in implementation had given it.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return check(cmd, &suite, &output, args[0], args[1])
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
	return cmd
}

func check(cmd *cobra.Command, suite *suiteFlag, output *outputFlags, pattern, file string) error {
	format, err := output.format(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	c, err := suite.read(pattern)
	if err != nil {
		return err
	}
	a, got, err := readOutput(file)
	if err != nil {
		return err
	}
	result, err := harness.Judge(c, a.Shape, got)
	if err != nil {
		return exit(exitBroken, "%w", err)
	}
	result.Rerun = "difftest check " + c.Name + " " + shellWord(file) + suite.flag()
	return finish(cmd.OutOrStdout(), format, &report.Report{
		Subject: file,
		Suite:   c.Provenance.Source(),
		Results: []report.Result{result},
	})
}

// readOutput reads a .npy file of floating-point numbers.
func readOutput(file string) (*fixture.Array, []float64, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, exit(exitBroken, "%w", err)
	}
	defer f.Close()
	data, err := fixture.ReadAll(f)
	if err != nil {
		return nil, nil, exit(exitBroken, "%s: %w", file, err)
	}
	a, err := fixture.ParseNPY(data)
	if err != nil {
		return nil, nil, exit(exitBroken, "%s: %w", file, err)
	}
	values, err := a.Float64s()
	if err != nil {
		return nil, nil, exit(exitBroken, "%s: %w", file, err)
	}
	return a, values, nil
}
