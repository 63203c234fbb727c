package main

import (
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/fixture"
)

func listCommand() *cobra.Command {
	var suite suiteFlag
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Name the cases",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fsys, err := suite.open()
			if err != nil {
				return err
			}
			return list(cmd.OutOrStdout(), cmd.ErrOrStderr(), fsys)
		},
	}
	suite.add(cmd)
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
