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
	var patterns, skip []string
	var state stateFlag
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
			return runTests(cmd, &suite, &output, &state, patterns, skip)
		},
	}
	suite.add(cmd)
	output.add(cmd)
	state.add(cmd)
	cmd.Flags().StringArrayVar(&patterns, "case", nil, "run only the cases that `PATTERN` selects: a path glob with **, or a word of the name (repeatable)")
	cmd.Flags().StringArrayVar(&skip, "skip", nil, "leave out the cases that `PATTERN` selects (repeatable)")
	for _, flag := range []string{"case", "skip"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, suite.complete)
	}
	return cmd
}

func runTests(cmd *cobra.Command, suite *suiteFlag, output *outputFlags, state *stateFlag, patterns, skip []string) error {
	format, err := output.format(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	fsys, names, err := suite.cases()
	if err != nil {
		return err
	}
	selected, err := selectCases(names, patterns, skip)
	if err != nil {
		return err
	}
	subject, err := state.load(builtIn(), fsys, selected)
	if err != nil {
		return err
	}
	r, err := harness.Check(cmd.Context(), fsys, subject, selected...)
	if r == nil {
		return exit(exitBroken, "%w", err)
	}
	for i := range r.Results {
		r.Results[i].Rerun = "difftest --case " + r.Results[i].Case + suite.flag() + state.flag()
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
