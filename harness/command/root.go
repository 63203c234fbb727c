package command

import (
	"context"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// rootCommand is difftest itself, with its subcommands.
func rootCommand() *cobra.Command {
	root := testCommand()
	root.SetFlagErrorFunc(unknownFlag)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	root.AddCommand(
		checkCommand(),
		compareCommand(),
		doctorCommand(),
		explainCommand(),
		exportCommand(),
		fuzzCommand(),
		initCommand(),
		lintCommand(),
		listCommand(),
		manCommand(),
		mergeCommand(),
		mistakesCommand(),
		newCommand(),
		reviewCommand(),
		selftestCommand(),
		showCommand(),
		versionCommand(),
		weightsCommand(),
	)
	return root
}

// testCommand runs the cases of a suite on an implementation.
func testCommand() *cobra.Command {
	var tested tested
	cmd := &cobra.Command{
		Use:   "difftest [-- CMD ARG...]",
		Short: "Test an attention implementation against PyTorch, and name its mistakes",
		Long: `difftest runs an implementation of attention on cases that a pinned PyTorch
made. It judges every output by the noise of float32, and names the mistake in
a wrong one.

Without a command difftest tests the implementation in package attention.
Behind -- stands the command of another implementation, in any language. It
speaks the protocol of harness/PROTOCOL.md.

Exit status:
  0    every case passed
  1    a case failed
  2    wrong usage
  3    a fixture is broken
  4    no case was selected, or every case was skipped
  130  interrupted; the report holds all results until then`,
		Example: `  difftest                     every case
  difftest --case causal       every case with that word in its name
  difftest --case 'mha/**'     every case below mha
  difftest -- python mine.py   every case on another implementation
  difftest check seed/causal output.npy`,
		Args: commandArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return tested.run(cmd, args) },
	}
	tested.judge.add(cmd)
	tested.child.add(cmd)
	tested.state.add(cmd)
	tested.judge.keep.add(cmd)
	tested.judge.shard.add(cmd)
	return cmd
}

// tested holds the flags of a run: the cases, the implementation and the parameters it loads.
type tested struct {
	judge judgeFlags
	child childFlags
	state stateFlag
}

func (t *tested) run(cmd *cobra.Command, args []string) error {
	check := func(ctx context.Context, suite fs.FS, cases []string) (*report.Report, error) {
		return t.check(ctx, cmd, args, suite, cases)
	}
	rerun := func(name string) string {
		return "difftest --case " + shellWord(name) + t.judge.suite.flag() + t.state.flag() + t.child.flags(args)
	}
	who, err := t.child.about(cmd, args)
	if err != nil {
		return err
	}
	return t.judge.judge(cmd, who, check, rerun)
}

// check runs the built-in implementation, or a command, and ends it.
func (t *tested) check(
	ctx context.Context, cmd *cobra.Command, args []string, suite fs.FS, cases []string,
) (*report.Report, error) {
	dict, err := t.state.read(suite, cases)
	if err != nil {
		return nil, err
	}
	runner, end, err := t.child.runner(ctx, cmd, args)
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
