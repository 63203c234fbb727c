package command

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/fuzz"
	"github.com/difftest/difftest/harness/internal/progress"
)

func fuzzCommand() *cobra.Command {
	flags := fuzzFlags{module: modelFlags{flag: "case"}}
	cmd := &cobra.Command{
		Use:   "fuzz [-- CMD ARG...]",
		Short: "Look for shapes that an implementation gets wrong",
		Long: `fuzz draws shapes and options among what an implementation offers, most of them
at edges: 1, powers of two, multiples of 8 to 64 and their neighbours, primes,
long caches, windows that do not divide. It shrinks a failure to the smallest
case that fails in the same way, and says under which condition cases fail. The
truth comes from the oracle of difftest, not from PyTorch.

With --case, the draws are inputs of other shapes for a captured module: another
batch, other tokens, padding. The module was captured with --vary batch,tokens.

The smallest cases are kept in a folder, and run first the next time. A crash
or a hang is a failure of its shape. A seed gives the same result for the same
number of draws, whatever --jobs is. FUZZ.md tells more.

Exit status:
  0    every draw passed
  1    a draw failed
  2    wrong usage
  3    the folder of cases is broken
  4    every draw was skipped
  130  interrupted`,
		Example: `  difftest fuzz --for 5m -- python mine.py
  difftest fuzz --count 2000 --seed 7 --corpus found -- ./mine
  difftest fuzz --case models/llama -- python port.py`,
		Args: commandArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return flags.run(cmd, args) },
	}
	f := cmd.Flags()
	f.DurationVar(&flags.For, "for", 0, "draw for `TIME`")
	f.IntVar(&flags.Count, "count", 0, "draw `N` cases (default 1000, unless --for is given)")
	f.Uint64Var(&flags.Seed, "seed", 1, "draw from seed `N`")
	f.StringVar(&flags.Corpus, "corpus", "fuzz-cases", "keep the smallest failing cases in folder `DIR`")
	_ = cmd.MarkFlagDirname("corpus")
	f.StringVar(&flags.module.name, "case", "", "draw inputs of other shapes for the module in case `NAME`")
	flags.module.suite.add(cmd)
	flags.child.add(cmd)
	flags.child.timeout = 10 * time.Second // a hang costs as much on every draw of its shape
	f.Lookup("timeout").DefValue = flags.child.timeout.String()
	return cmd
}

// fuzzFlags are the flags of difftest fuzz.
type fuzzFlags struct {
	fuzz.Options
	module modelFlags
	child  childFlags
}

func (f *fuzzFlags) run(cmd *cobra.Command, args []string) (err error) {
	switch {
	case f.Count < 0 || cmd.Flags().Changed("count") && f.Count == 0:
		return exit(exitUsage, "--count: %d, want more than 0", f.Count)
	case f.For < 0 || cmd.Flags().Changed("for") && f.For == 0:
		return exit(exitUsage, "--for: %v, want more than 0", f.For)
	case f.Corpus == "":
		return exit(exitUsage, "--corpus: empty")
	}
	o := f.Options
	if o.Count == 0 && o.For == 0 {
		o.Count = 1000
	}
	if o.Model, err = f.module.model(); err != nil {
		return err
	}
	limitMemory(boundOfModels)
	ctx, follow := followed(cmd)
	o.Progress = func(draws, _ int) {
		progress.Tell(ctx, progress.Update{Stage: "draws", Done: draws, Total: o.Count})
	}
	runner, end, err := f.child.runner(ctx, cmd, args)
	if err != nil {
		return err
	}
	r, err := fuzz.Run(ctx, runner, o)
	follow.pause()
	if endErr := end(); err == nil {
		err = endErr
	}
	if err != nil {
		return interrupted(cmd.Context(), exit(exitBroken, "%w", err))
	}
	rerun := func(name string) string {
		return "difftest --case " + name + " --fixtures " + shellWord(o.Corpus) + f.child.flags(args)
	}
	if err := fuzz.Text(cmd.OutOrStdout(), r, rerun); err != nil {
		return exit(exitBroken, "write the result: %w", err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%d draws in %v, %.0f a second\n",
		r.Draws, r.Took.Round(10*time.Millisecond), float64(r.Draws)/r.Took.Seconds())
	switch {
	case r.Failed > 0:
		return &exitError{status: exitFailed}
	case r.Passed == 0:
		return exit(exitNothing, "every draw was skipped")
	}
	return nil
}
