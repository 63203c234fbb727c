package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness"
	"github.com/difftest/difftest/harness/diagnose"
	"github.com/difftest/difftest/harness/fixture"
)

func showCommand() *cobra.Command {
	var suite suiteFlag
	cmd := &cobra.Command{
		Use:   "show CASE",
		Short: "Say what a case is for: its configuration, tensors, provenance, and what it cannot see",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := suite.read(args[0])
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), c)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return suite.complete(cmd, args, word)
		},
	}
	suite.add(cmd)
	return cmd
}

func show(out io.Writer, c *fixture.Case) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\n%s\n\n", c.Name, c.Purpose)
	fmt.Fprintf(w, "operation\t%s\n", c.Op)
	for _, line := range configuration(c) {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
	for _, role := range slices.Sorted(maps.Keys(c.Roles)) {
		f := c.Files[c.Roles[role]]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s%s\n", role, c.Roles[role], f.DType, attention.FormatShape(f.Shape), meaning[role])
	}
	p := c.Provenance
	fmt.Fprintf(w, "\nmade by\t%s, PyTorch %s (%.10s), NumPy %s, Python %s\n", p.Function, p.Torch, p.TorchGit, p.NumPy, p.Python)
	fmt.Fprintf(w, "\t%s\n", p.Call)
	fmt.Fprintf(w, "\tseed %d, threads %d, oneDNN %s", p.Seed, p.Threads, onOff(p.MKLDNN))
	for _, name := range slices.Sorted(maps.Keys(p.Environment)) {
		fmt.Fprintf(w, ", %s=%s", name, p.Environment[name])
	}
	s := harness.Sees(c)
	fmt.Fprintf(w, "\n\nsees\t%s\n", ids(s.Seen))
	fmt.Fprintf(w, "is blind to\t%s\n", ids(s.Blind))
	fmt.Fprintf(w, "has nothing of\t%s\n", ids(s.Absent))
	if err := w.Flush(); err != nil {
		return exit(exitBroken, "%w", err)
	}
	return nil
}

// meaning says what the values of a mask do.
var meaning = map[string]string{
	"inputs.allow":   "  true takes part",
	"inputs.block":   "  true is ignored",
	"inputs.padding": "  true is ignored",
	"inputs.bias":    "  added to the scores",
}

func configuration(c *fixture.Case) []string {
	empty := map[attention.EmptyRow]string{attention.EmptyZero: "zeros", attention.EmptyNaN: "NaN"}[c.EmptyRow()]
	if c.Op == fixture.SDPA {
		scale := "1/sqrt(E), the default"
		if c.Options.Scale != 0 {
			scale = fmt.Sprint(c.Options.Scale)
		}
		return []string{
			"causal\t" + yesNo(c.Options.Causality == attention.TopLeft),
			"scale\t" + scale,
			"row without keys\t" + empty,
		}
	}
	l := c.Layer
	return []string{
		fmt.Sprintf("embed dim\t%d, key %d, value %d", l.EmbedDim, l.KDim, l.VDim),
		fmt.Sprintf("heads\t%d of width %d", l.NumHeads, l.EmbedDim/l.NumHeads),
		"biases\t" + yesNo(!l.WithoutBias),
		"causal\t" + yesNo(!l.Bidirectional),
		"row without keys\tcontext of " + empty,
	}
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

func onOff(v bool) string {
	if v {
		return "on"
	}
	return "off"
}

func ids(list []diagnose.Mistake) string {
	if len(list) == 0 {
		return "none"
	}
	words := make([]string, len(list))
	for i, m := range list {
		words[i] = m.ID
	}
	return strings.Join(words, ", ")
}
