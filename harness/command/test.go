package command

import (
	"context"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// testCommand is difftest itself: it runs the cases.
func testCommand() *cobra.Command {
	var flags judgeFlags
	var child childFlags
	var state stateFlag
	cmd := &cobra.Command{
		Use:   "difftest [-- CMD ARG...]",
		Short: "Does an attention implementation compute what PyTorch computes, and if not, why not?",
		Long: `difftest runs the built-in implementation of attention on cases that a pinned PyTorch made,
and says of every output that is outside the noise of float32 what is wrong with it. Behind -- stands the command of
another implementation, in any language, which is tested instead: it speaks the protocol of harness/PROTOCOL.md.

Exit status: 0 all passed, 1 a case failed, 2 wrong usage, 3 a fixture is broken,
4 no case was selected, 130 interrupted: the report holds what was known by then.`,
		Example: `  difftest                     every case
  difftest --case causal       every case with that word in its name
  difftest --case 'mha/**'     every case below mha
  difftest -- python mine.py   every case on another implementation
  difftest check seed/causal output.npy`,
		Args: commandArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.judge(cmd, func(ctx context.Context, suite fs.FS, cases []string) (*report.Report, error) {
				return checkSubject(ctx, cmd, args, &child, &state, suite, cases)
			}, func(name string) string {
				return "difftest --case " + name + flags.suite.flag() + state.flag() + child.flags(args)
			})
		},
	}
	flags.add(cmd)
	child.add(cmd)
	state.add(cmd)
	return cmd
}

// checkSubject runs the built-in implementation, or a command, and ends it.
func checkSubject(ctx context.Context, cmd *cobra.Command, args []string, child *childFlags, state *stateFlag, suite fs.FS, cases []string) (*report.Report, error) {
	dict, err := state.read(suite, cases)
	if err != nil {
		return nil, err
	}
	runner, end, err := child.runner(ctx, cmd, args)
	if err != nil {
		return nil, err
	}
	if dict != nil {
		runner = subject.Loading(runner, dict)
	}
	r, err := check.Check(ctx, suite, runner, cases...)
	if endErr := end(); endErr != nil {
		return nil, exit(exitBroken, "%w", endErr)
	}
	return r, err
}

// builtIn is the implementation in the package attention.
func builtIn() subject.Subject {
	return subject.Subject{
		Name: "the built-in attention",
		SDPA: attention.SDPA,
		MHA:  func(c attention.Config) (subject.Module, error) { return attention.New(c) },
	}
}
