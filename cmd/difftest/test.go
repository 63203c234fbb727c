package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness"
)

// testCommand is difftest itself: it runs the cases.
func testCommand() *cobra.Command {
	var suite suiteFlag
	var output outputFlags
	var child childFlags
	var patterns, skip []string
	cmd := &cobra.Command{
		Use:   "difftest [-- CMD ARG...]",
		Short: "Does an attention implementation compute what PyTorch computes, and if not, why not?",
		Long: `difftest runs the built-in implementation of attention on cases that a pinned PyTorch made,
and says of every output that is outside the noise of float32 what is wrong with it. Behind -- stands the command of
another implementation, in any language, which is tested instead: it speaks the protocol of harness/protocol/README.md.

Exit status: 0 all passed, 1 a case failed, 2 wrong usage, 3 a fixture is broken,
4 no case was selected.`,
		Example: `  difftest                     every case
  difftest --case causal       every case with that word in its name
  difftest --case 'mha/**'     every case below mha
  difftest -- python mine.py   every case on another implementation
  difftest check seed/causal output.npy`,
		Args: commandArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runTests(cmd, args, &suite, &output, &child, patterns, skip)
		},
	}
	suite.add(cmd)
	output.add(cmd)
	child.add(cmd)
	cmd.Flags().StringArrayVar(&patterns, "case", nil, "run only the cases that `PATTERN` selects: a path glob with **, or a word of the name (repeatable)")
	cmd.Flags().StringArrayVar(&skip, "skip", nil, "leave out the cases that `PATTERN` selects (repeatable)")
	for _, flag := range []string{"case", "skip"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, suite.complete)
	}
	return cmd
}

func runTests(cmd *cobra.Command, args []string, suite *suiteFlag, output *outputFlags, child *childFlags, patterns, skip []string) error {
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
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	subject, end, err := child.runner(ctx, cmd, args)
	if err != nil {
		return err
	}
	r, err := harness.Check(ctx, fsys, subject, selected...)
	if endErr := end(); endErr != nil {
		return exit(exitBroken, "%w", endErr)
	}
	if ctx.Err() != nil {
		return exit(exitBroken, "interrupted")
	}
	if r == nil {
		return exit(exitBroken, "%w", err)
	}
	for i := range r.Results {
		r.Results[i].Rerun = "difftest --case " + r.Results[i].Case + suite.flag() + child.flags(args)
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
