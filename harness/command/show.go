package command

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
)

func showCommand() *cobra.Command {
	var suite suiteFlag
	cmd := &cobra.Command{
		Use:   "show CASE...",
		Short: "Describe a case: configuration, tensors, origin, blind spots",
		Long: `show describes a case: its operation and configuration, its tensors, the PyTorch
call that made it, and the mistakes that it sees, cannot tell apart or is blind
to. CASE is a name, or a pattern that selects cases.

Exit status: 0, 2 for wrong usage, 3 if the case is broken, or 4 if there is no
such case.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cases, err := suite.readAll(args)
			if err != nil {
				return err
			}
			for i, c := range cases {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := show(cmd.OutOrStdout(), c); err != nil {
					return err
				}
			}
			return nil
		},
		ValidArgsFunction: suite.complete,
	}
	suite.add(cmd)
	return cmd
}

func show(out io.Writer, c *fixture.Case) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\n%s\n\n", c.Name, c.Purpose)
	fmt.Fprintf(w, "operation\t%s\n", c.Op)
	for _, line := range c.Configuration() {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
	for _, role := range slices.Sorted(maps.Keys(c.Roles)) {
		f := c.Files[c.Roles[role]]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s%s\n",
			role, c.Roles[role], f.DType, attention.FormatShape(f.Shape), meaning[role])
	}
	if err := writeDescription(w, c); err != nil {
		return exit(exitBroken, "%w", err)
	}
	p := c.Provenance
	fmt.Fprintln(w)
	writeWrapped(w, "made by", fmt.Sprintf("%s, PyTorch %s (%.10s), NumPy %s, Python %s",
		p.Function, p.Torch, p.TorchGit, p.NumPy, p.Python))
	writeWrapped(w, "", p.Call)
	settings := fmt.Sprintf("seed %d, threads %d, oneDNN %s", p.Seed, p.Threads, onOff(p.MKLDNN))
	for _, name := range slices.Sorted(maps.Keys(p.Environment)) {
		settings += fmt.Sprintf(", %s=%s", name, p.Environment[name])
	}
	writeWrapped(w, "", settings)
	fmt.Fprintln(w)
	referee, err := judge.New(context.Background(), c, oracle.Precision{})
	if err != nil {
		return exit(exitBroken, "%w", err)
	}
	writeSight(w, "", referee.Sees())
	if err := w.Flush(); err != nil {
		return exit(exitBroken, "%w", err)
	}
	return nil
}

// writeDescription prints the structure and the settings of a module, if the case has them.
func writeDescription(w io.Writer, c *fixture.Case) error {
	if len(c.Structure) > 0 {
		fmt.Fprintf(w, "\nstructure\n")
	}
	for _, line := range c.Structure {
		fmt.Fprintf(w, "  %s\n", line)
	}
	if c.Settings == nil {
		return nil
	}
	settings := c.Settings.Clone()
	if err := settings.Indent(jsontext.WithIndent("  "), jsontext.WithIndentPrefix("  ")); err != nil {
		return fmt.Errorf("config.settings: %w", err)
	}
	fmt.Fprintf(w, "\nsettings\n  %s\n", settings)
	return nil
}

// meaning explains the values of masks.
var meaning = map[string]string{
	"inputs.allow":   "  true takes part",
	"inputs.block":   "  true is ignored",
	"inputs.padding": "  true is ignored",
	"inputs.bias":    "  added to the scores",
}

func onOff(v bool) string {
	if v {
		return "on"
	}
	return "off"
}
