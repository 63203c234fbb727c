package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness"
	"github.com/difftest/difftest/harness/catalogue"
	"github.com/difftest/difftest/harness/report"
)

func mistakesCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "mistakes",
		Short: "List the known mistakes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			write := listMistakes
			if asJSON {
				write = mistakesJSON
			}
			if err := write(cmd.OutOrStdout()); err != nil {
				return exit(exitBroken, "%w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "for programs")
	return cmd
}

func listMistakes(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, m := range catalogue.Mistakes {
		fmt.Fprintf(w, "%s\t%s\t%s\n", m.ID, m.Family, m.Title)
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
	list := struct {
		Version  int     `json:"version"`
		Mistakes []entry `json:"mistakes"`
	}{Version: 1}
	for _, m := range catalogue.Mistakes {
		list.Mistakes = append(list.Mistakes, entry{
			m.ID, string(m.Family), m.Title, m.Explanation, m.Fix, m.Needs, m.Random, m.Evidence, append([]string{}, m.Refs...),
		})
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(list)
}

func explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain ID",
		Short: "Say what a mistake is, what to do about it, and what it looks like on a case",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return explain(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var ids []cobra.Completion
			for _, m := range catalogue.Mistakes {
				if len(args) == 0 && strings.HasPrefix(m.ID, word) {
					ids = append(ids, m.ID)
				}
			}
			return ids, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

func explain(ctx context.Context, out io.Writer, id string) error {
	m, ok := catalogue.ByID(id)
	if !ok {
		return exit(exitUsage, "%q is no known mistake; difftest mistakes lists them", id)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s: %s\n\n", m.ID, m.Title)
	for _, line := range [][2]string{
		{"family", string(m.Family)}, {"wrong", m.Explanation}, {"fix", m.Fix}, {"needs", m.Needs}, {"reported", m.Evidence},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
		}
	}
	if err := w.Flush(); err != nil {
		return exit(exitBroken, "%w", err)
	}
	example, err := harness.Example(ctx, fixtures.FS, m)
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
