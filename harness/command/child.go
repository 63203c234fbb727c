package command

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/builtin"
	"github.com/difftest/difftest/harness/internal/child"
	"github.com/difftest/difftest/harness/internal/printable"
	"github.com/difftest/difftest/harness/internal/subject"
)

// maxJobs is the largest number of --jobs.
const maxJobs = 1024

// childFlags say how to run an implementation in another process. They need a command behind --.
type childFlags struct {
	once      bool
	timeout   time.Duration
	jobs      int
	precision string
	env       []string
}

func (c *childFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&c.once, "once", false,
		"start CMD for every case; the folder of the case is its last argument, or replaces {dir}")
	f.DurationVar(&c.timeout, "timeout", time.Minute, "`TIME` that CMD may take to start, and for each answer")
	f.IntVar(&c.jobs, "jobs", 1, "run cases in `N` processes of CMD at once")
	f.StringArrayVar(&c.env, "env", nil, "pass the environment variable `NAME` on to CMD, which gets PATH, "+
		"HOME, PYTHON*, CUDA_* and a few others only (repeatable)")
	addPrecision(cmd, &c.precision, "arithmetic of CMD")
}

// command returns the command that stands behind --. Without one, a flag that needs it is an error.
func (c *childFlags) command(cmd *cobra.Command, args []string) (child.Command, error) {
	if cmd.ArgsLenAtDash() < 0 {
		for _, name := range []string{"once", "timeout", "jobs", "precision", "env"} {
			if cmd.Flags().Changed(name) {
				return child.Command{}, exit(exitUsage,
					"--%s: needs a command: difftest --%s ... -- CMD ARG...", name, name)
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
	for _, name := range c.env {
		if _, set := os.LookupEnv(name); !set {
			return child.Command{}, exit(exitUsage, "--env: %.200q is not set", name)
		}
	}
	return child.Command{
		Args:      args,
		Env:       c.env,
		Once:      c.once,
		Jobs:      c.jobs,
		Timeout:   c.timeout,
		Precision: precision,
		Tool:      toolVersion(),
	}, nil
}

// runner returns the built-in implementation, or the command behind --. close ends it.
func (c *childFlags) runner(
	ctx context.Context, cmd *cobra.Command, args []string,
) (r subject.Runner, close func() error, err error) {
	command, err := c.command(cmd, args)
	if err != nil {
		return nil, nil, err
	}
	if command.Args == nil {
		return builtin.Subject(), func() error { return nil }, nil
	}
	s, err := child.New(ctx, command)
	if err != nil {
		return nil, nil, exit(exitUsage, "%s: %w", args[0], err)
	}
	return s, s.Close, nil
}

// about returns who is judged, before anything runs.
func (c *childFlags) about(cmd *cobra.Command, args []string) (about, error) {
	command, err := c.command(cmd, args)
	if command.Args == nil {
		return about{subject: builtin.Subject().Name}, err
	}
	words := make([]string, len(command.Args))
	for i, word := range command.Args {
		words[i] = shellWord(word)
	}
	return about{printable.Line(strings.Join(words, " ")), string(command.Precision)}, err
}

// flags returns the end of a command line that runs the same command again.
func (c *childFlags) flags(args []string) string {
	if len(args) == 0 {
		return ""
	}
	var b strings.Builder
	if c.once {
		b.WriteString(" --once")
	}
	if c.timeout != time.Minute {
		fmt.Fprintf(&b, " --timeout %v", c.timeout)
	}
	for _, name := range c.env {
		b.WriteString(" --env " + shellWord(name))
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

// commandArgs accepts a command behind --, and no argument before it.
func commandArgs(cmd *cobra.Command, args []string) error {
	if n := cmd.ArgsLenAtDash(); n >= 0 {
		args = args[:n]
	}
	if len(args) > 0 {
		return unknownCommand(cmd, args[0])
	}
	return nil
}

// toolVersion returns the version of difftest for a child; empty without build information.
func toolVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || release != "" {
		return release
	}
	return info.Main.Version
}

// toolName returns the name and the version of difftest: "difftest v1.2.0".
func toolName() string { return "difftest " + toolVersion() }
