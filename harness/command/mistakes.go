package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/report"
)

func mistakesCommand() *cobra.Command {
	var asJSON, asMarkdown bool
	cmd := &cobra.Command{
		Use:   "mistakes",
		Short: "List the known mistakes, and what looks like one and is none",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			write := listMistakes
			switch {
			case asJSON:
				write = mistakesJSON
			case asMarkdown:
				write = catalogue.Markdown
			}
			if err := write(cmd.OutOrStdout()); err != nil {
				return exit(exitBroken, "%w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "for programs")
	cmd.Flags().BoolVar(&asMarkdown, "markdown", false, "with explanations, as tables of Markdown")
	cmd.MarkFlagsMutuallyExclusive("json", "markdown")
	return cmd
}

func listMistakes(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, m := range catalogue.Mistakes {
		fmt.Fprintf(w, "%s\t%s\t%s\n", m.ID, m.Family, m.Title)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprint(out, "\nNo mistakes, no output tells them from the right way:\n\n")
	for _, i := range catalogue.Identities {
		fmt.Fprintf(w, "%s\t%s\n", i.ID, i.Title)
	}
	return w.Flush()
}

// mistakesJSON writes version 1 of the catalogue for programs.
func mistakesJSON(out io.Writer) error {
	type entry struct {
		ID          string   `json:"id"`
		Family      string   `json:"family"`
		Title       string   `json:"title"`
		Explanation string   `json:"explanation"`
		Fix         string   `json:"fix"`
		Needs       string   `json:"needs"`
		Random      bool     `json:"random"`
		Evidence    string   `json:"evidence"`
		Refs        []string `json:"refs"`
	}
	type identity struct {
		ID       string   `json:"id"`
		Title    string   `json:"title"`
		Why      string   `json:"why"`
		Needs    string   `json:"needs"`
		Evidence string   `json:"evidence"`
		Refs     []string `json:"refs"`
	}
	list := struct {
		Version    int        `json:"version"`
		Mistakes   []entry    `json:"mistakes"`
		Identities []identity `json:"identities"`
	}{Version: 1}
	for _, m := range catalogue.Mistakes {
		list.Mistakes = append(list.Mistakes, entry{
			m.ID, string(m.Family), m.Title, m.Explanation, m.Fix, m.Needs, m.Random, m.Evidence, append([]string{}, m.Refs...),
		})
	}
	for _, i := range catalogue.Identities {
		list.Identities = append(list.Identities, identity{i.ID, i.Title, i.Why, i.Needs, i.Evidence, append([]string{}, i.Refs...)})
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(list)
}

func explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain ID",
		Short: "Say what a mistake is, what to do about it, and what it looks like on a case, or why something is none",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return explain(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var ids []cobra.Completion
			for _, id := range explainable() {
				if len(args) == 0 && strings.HasPrefix(id, word) {
					ids = append(ids, id)
				}
			}
			return ids, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// explainable are the ids of all mistakes and identities.
func explainable() []string {
	var ids []string
	for _, m := range catalogue.Mistakes {
		ids = append(ids, m.ID)
	}
	for _, i := range catalogue.Identities {
		ids = append(ids, i.ID)
	}
	return ids
}

func explain(ctx context.Context, out io.Writer, id string) error {
	if i, ok := catalogue.IdentityByID(id); ok {
		return explanation(out, i.ID, i.Title, [][2]string{{"no mistake", i.Why}, {"where", i.Needs}, {"reported", i.Evidence}})
	}
	m, ok := catalogue.ByID(id)
	if !ok {
		return exit(exitUsage, "%q is no known mistake; difftest mistakes lists them", id)
	}
	err := explanation(out, m.ID, m.Title, [][2]string{
		{"family", string(m.Family)}, {"wrong", m.Explanation}, {"fix", m.Fix}, {"needs", m.Needs}, {"reported", m.Evidence},
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

// explanation writes a title, and lines that have something to say.
func explanation(out io.Writer, id, title string, lines [][2]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s: %s\n\n", id, title)
	for _, line := range lines {
		if line[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
		}
	}
	if err := w.Flush(); err != nil {
		return exit(exitBroken, "%w", err)
	}
	return nil
}
