package command

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/child"
	"github.com/difftest/difftest/harness/internal/subject"
)

// childFlags say how an implementation in another process is run. They go with a command behind --.
type childFlags struct {
	once      bool
	timeout   time.Duration
	jobs      int
	precision string
}

func (c *childFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&c.once, "once", false, "start CMD for every case, with the folder of its files as the last argument or in the place of {dir}")
	f.DurationVar(&c.timeout, "timeout", time.Minute, "how long CMD may take to start, and for each answer")
	f.IntVar(&c.jobs, "jobs", 1, "how many processes of CMD run cases at once")
	f.StringVar(&c.precision, "precision", "", "what CMD computes in: float16, bfloat16 or tf32; the noise is then that of this arithmetic")
	_ = cmd.RegisterFlagCompletionFunc("precision", cobra.FixedCompletions([]cobra.Completion{"float16", "bfloat16", "tf32"}, cobra.ShellCompDirectiveNoFileComp))
}

// command is what stands behind --. A command line without it has no use for the flags.
func (c *childFlags) command(cmd *cobra.Command, args []string) (child.Command, error) {
	if cmd.ArgsLenAtDash() < 0 {
		for _, name := range []string{"once", "timeout", "jobs", "precision"} {
			if cmd.Flags().Changed(name) {
				return child.Command{}, exit(exitUsage, "--%s: goes with a command: difftest --%s ... -- CMD ARG...", name, name)
			}
		}
		return child.Command{}, nil
	}
	precision, err := subject.ParsePrecision(c.precision)
	switch {
	case len(args) == 0:
		return child.Command{}, exit(exitUsage, "no command behind --")
	case err != nil:
		return child.Command{}, exit(exitUsage, "--%w", err)
	case c.timeout <= 0:
		return child.Command{}, exit(exitUsage, "--timeout: %v, want more than 0", c.timeout)
	case c.jobs < 1 || c.jobs > maxJobs:
		return child.Command{}, exit(exitUsage, "--jobs: %d, want 1 to %d", c.jobs, maxJobs)
	}
	return child.Command{Args: args, Once: c.once, Jobs: c.jobs, Timeout: c.timeout, Precision: precision, Tool: toolVersion()}, nil
}

const maxJobs = 1024

// runner gives what is to be tested: the built-in implementation, or the command. close ends it.
func (c *childFlags) runner(ctx context.Context, cmd *cobra.Command, args []string) (r subject.Runner, close func() error, err error) {
	command, err := c.command(cmd, args)
	if err != nil {
		return nil, nil, err
	}
	if command.Args == nil {
		return builtIn(), func() error { return nil }, nil
	}
	s, err := child.New(ctx, command)
	if err != nil {
		return nil, nil, exit(exitUsage, "%s: %w", args[0], err)
	}
	return s, s.Close, nil
}

// flags are what a command line needs to run the same command again.
func (c *childFlags) flags(args []string) string {
	var b strings.Builder
	if len(args) == 0 {
		return ""
	}
	if c.once {
		b.WriteString(" --once")
	}
	if c.timeout != time.Minute {
		fmt.Fprintf(&b, " --timeout %v", c.timeout)
	}
	if c.precision != "" {
		b.WriteString(" --precision " + c.precision)
	}
	b.WriteString(" --")
	for _, a := range args {
		b.WriteString(" " + shellWord(a))
	}
	return b.String()
}

// commandArgs takes a command behind --, and no argument before it.
func commandArgs(cmd *cobra.Command, args []string) error {
	if n := cmd.ArgsLenAtDash(); n >= 0 {
		args = args[:n]
	}
	return cobra.NoArgs(cmd, args)
}

// toolVersion is what a child is told of this program; "" where it was built without.
func toolVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return info.Main.Version
}
