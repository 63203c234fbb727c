package main

import (
	"github.com/spf13/cobra"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness"
)

// testCommand is difftest itself: it runs the cases.
func testCommand() *cobra.Command {
	var suite suiteFlag
	var output outputFlags
	var selection selectionFlags
	cmd := &cobra.Command{
		Use:   "difftest",
		Short: "Does an attention implementation compute what PyTorch computes, and if not, why not?",
		Long: `difftest runs the built-in implementation of attention on cases that a pinned PyTorch made,
and says of every output that is outside the noise of float32 what is wrong with it.

Exit status: 0 all passed, 1 a case failed, 2 wrong usage, 3 a fixture is broken,
4 no case was selected.`,
		Example: `  difftest                     every case
  difftest --case causal       every case with that word in its name
  difftest --case 'mha/**'     every case below mha
  difftest check seed/causal output.npy`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runTests(cmd, &suite, &output, &selection)
		},
	}
	suite.add(cmd)
	output.add(cmd)
	selection.add(cmd, &suite)
	return cmd
}

func runTests(cmd *cobra.Command, suite *suiteFlag, output *outputFlags, selection *selectionFlags) error {
	format, err := output.format(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	fsys, selected, err := selection.cases(suite)
	if err != nil {
		return err
	}
	r, err := harness.Check(cmd.Context(), fsys, builtIn(), selected...)
	if r == nil {
		return exit(exitBroken, "%w", err)
	}
	for i := range r.Results {
		r.Results[i].Rerun = "difftest --case " + r.Results[i].Case + suite.flag()
	}
	return finish(cmd.OutOrStdout(), format, r)
}

// builtIn is the implementation in the package attention.
func builtIn() harness.Subject {
	return harness.Subject{
		Name: "the built-in attention",
		SDPA: attention.SDPA,
		MHA:  func(c attention.Config) (harness.Module, error) { return attention.New(c) },
	}
}
