package command

import (
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

func listCommand() *cobra.Command {
	var suite suiteFlag
	var core bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the cases",
		Long: `list writes a line for every case: its name, the shape of its output, and what
it is for.

Exit status: 0, 2 for wrong usage, or 3 if a case is broken.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if core {
				return listCore(cmd.OutOrStdout(), &suite)
			}
			fsys, err := suite.open()
			if err != nil {
				return err
			}
			return list(cmd.OutOrStdout(), cmd.ErrOrStderr(), fsys)
		},
	}
	suite.add(cmd)
	cmd.Flags().BoolVar(&core, "core", false,
		"name only the fewest cases that see and tell apart every mistake that the suite does")
	return cmd
}

func list(stdout, stderr io.Writer, suite fs.FS) error {
	names, err := fixture.Names(suite)
	broken := 0
	if err != nil {
		fmt.Fprintln(stderr, "difftest:", err)
		broken++
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for _, name := range names {
		c, err := fixture.Read(suite, name)
		if err != nil {
			fmt.Fprintln(stderr, "difftest:", err)
			broken++
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.Name, attention.FormatShape(c.Output.Shape), c.Purpose)
	}
	if err := w.Flush(); err != nil {
		return exit(exitBroken, "%w", err)
	}
	if broken > 0 {
		return &exitError{status: exitBroken}
	}
	return nil
}

// listCore writes only names, ready for --case.
func listCore(stdout io.Writer, suite *suiteFlag) error {
	l, err := lintSuite(suite, &selectionFlags{})
	if err != nil {
		return err
	}
	for _, name := range l.Core {
		if _, err := fmt.Fprintln(stdout, name); err != nil {
			return exit(exitBroken, "%w", err)
		}
	}
	return nil
}
