package command

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/report"
)

func explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain ID",
		Short: "Explain a known mistake, with an example",
		Long: `explain says what a mistake is, how to fix it, and what difftest prints for it
on a case. Of an identity it says why the output is right.

Exit status: 0, or 2 if the id is unknown.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return explain(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
		ValidArgsFunction: completeID,
	}
}

// completeID offers the ids that begin with a word.
func completeID(_ *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var ids []cobra.Completion
	for _, id := range explainable() {
		if len(args) == 0 && strings.HasPrefix(id, word) {
			ids = append(ids, id)
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// explainable returns the ids of all mistakes, numbers, identities and parts that nobody wrote.
func explainable() []string {
	var ids []string
	for _, m := range knownMistakes() {
		ids = append(ids, m.ID)
	}
	for _, n := range catalogue.Numbers {
		ids = append(ids, n.ID)
	}
	for _, n := range edits.Numbers {
		ids = append(ids, n.ID)
	}
	for _, i := range catalogue.Identities {
		ids = append(ids, i.ID)
	}
	for _, u := range judge.UnwrittenParts() {
		ids = append(ids, u.ID)
	}
	return ids
}

func explain(ctx context.Context, out io.Writer, id string) error {
	if i, ok := catalogue.IdentityByID(id); ok {
		return explanation(out, i.ID, i.Title, [][2]string{
			{"no mistake", i.Why}, {"where", i.Needs}, {"reported", i.Evidence},
		})
	}
	if n, ok := catalogue.NumberByID(id); ok {
		return explanation(out, n.ID, "another "+n.Title, [][2]string{{"fix", n.Fix}, {"reported", n.Evidence}})
	}
	if n, ok := edits.NumberByID(id); ok {
		return explanation(out, n.ID, "another "+n.Title+" in a model", [][2]string{{"fix", n.Fix}})
	}
	for _, u := range judge.UnwrittenParts() {
		if u.ID == id {
			const wrong = "A block of the output, or of the context before the output projection, is zero, " +
				"and all else is right."
			return explanation(out, u.ID, u.Title, [][2]string{{"wrong", wrong}, {"fix", u.Fix}})
		}
	}
	if m, ok := edits.ByID(id); ok {
		return explanation(out, m.ID, m.Title, [][2]string{
			{"family", string(m.Family)}, {"wrong", m.Explanation}, {"fix", m.Fix},
		})
	}
	m, ok := catalogue.ByID(id)
	if !ok {
		return exit(exitUsage, "%q is not a known mistake; see difftest mistakes", id)
	}
	err := explanation(out, m.ID, m.Title, [][2]string{
		{"family", string(m.Family)},
		{"wrong", m.Explanation},
		{"fix", m.Fix},
		{"needs", m.Needs},
		{"reported", m.Evidence},
	})
	if err != nil {
		return err
	}
	example, err := judge.Example(ctx, fixtures.FS, m)
	if err != nil {
		return exit(exitBroken, "%w", err)
	}
	fmt.Fprintf(out, "\nOn %s:\n\n", example.Case)
	text := report.Text(report.TextOptions{Bare: true})
	if err := text(out, &report.Report{Results: []report.Result{example}}); err != nil {
		return exit(exitBroken, "%w", err)
	}
	return nil
}

// explanation writes a title, and the lines whose text is not empty.
func explanation(out io.Writer, id, title string, lines [][2]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s: %s\n\n", id, title)
	for _, line := range lines {
		if line[1] != "" {
			writeWrapped(w, line[0], line[1])
		}
	}
	if err := w.Flush(); err != nil {
		return exit(exitBroken, "%w", err)
	}
	return nil
}
