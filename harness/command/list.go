package command

import (
	"encoding/json"
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
	var selection selectionFlags
	var core, asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the cases",
		Long: `list writes a line for every case: its name, the shape of its output, and what
it is for.

Exit status: 0, 2 for wrong usage, 3 if a case is broken, or 4 if nothing was
selected.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if core {
				return listCore(cmd.OutOrStdout(), &suite, &selection)
			}
			fsys, names, err := selection.cases(&suite)
			if err != nil {
				return err
			}
			write := listText
			if asJSON {
				write = listJSON
			}
			return list(cmd.OutOrStdout(), cmd.ErrOrStderr(), fsys, names, write)
		},
	}
	suite.add(cmd)
	selection.add(cmd, &suite)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON, for programs")
	cmd.Flags().BoolVar(&core, "core", false,
		"name only the fewest cases that see and tell apart every mistake that the suite does")
	cmd.MarkFlagsMutuallyExclusive("json", "core")
	return cmd
}

// list writes the named cases, and names broken ones on stderr.
func list(
	stdout, stderr io.Writer, suite fs.FS, names []string, write func(io.Writer, []*fixture.Case) error,
) error {
	_, err := fixture.Names(suite)
	broken := err != nil
	if broken {
		fmt.Fprintln(stderr, "difftest:", err)
	}
	var cases []*fixture.Case
	for _, name := range names {
		c, err := fixture.Read(suite, name)
		if err != nil {
			fmt.Fprintln(stderr, "difftest:", err)
			broken = true
			continue
		}
		cases = append(cases, c)
	}
	if err := write(stdout, cases); err != nil {
		return exit(exitBroken, "%w", err)
	}
	if broken {
		return &exitError{status: exitBroken}
	}
	return nil
}

// listText writes a line for each case.
func listText(out io.Writer, cases []*fixture.Case) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range cases {
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.Name, attention.FormatShape(c.Output.Shape), c.Purpose)
	}
	return w.Flush()
}

// listJSON writes the cases for programs, in version 1 of the format.
func listJSON(out io.Writer, cases []*fixture.Case) error {
	type entry struct {
		Case    string `json:"case"`
		Purpose string `json:"purpose"`
		Op      string `json:"op"`
		Shape   []int  `json:"shape"` // of the output
		Source  string `json:"source"`
	}
	entries := []entry{}
	for _, c := range cases {
		entries = append(entries, entry{
			c.Name, c.Purpose, string(c.Op), append([]int{}, c.Output.Shape...), c.Provenance.Source(),
		})
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(struct {
		Version int     `json:"version"`
		Cases   []entry `json:"cases"`
	}{1, entries})
}

// listCore writes only names, ready for --case.
func listCore(stdout io.Writer, suite *suiteFlag, selection *selectionFlags) error {
	l, err := lintSuite(suite, selection)
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
