package command

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fixture"
)

func mistakesCommand() *cobra.Command {
	var asJSON, asMarkdown bool
	cmd := &cobra.Command{
		Use:   "mistakes [PATTERN...]",
		Short: "List the known mistakes",
		Long: `mistakes lists the known mistakes: id, family, and what the case was computed
with. The last families are about whole models, in the graph of a captured
module. Below them stand the identities: ways to compute attention that look
like mistakes and give the right output. A PATTERN selects mistakes and
identities: a glob of ids such as rope-*, a word of an id, or a family.

Exit status: 0, 2 for wrong usage, or 4 if a pattern selects nothing.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := selectMistakes(args)
			if err != nil {
				return err
			}
			write := list.text
			switch {
			case asJSON:
				write = list.json
			case asMarkdown && len(args) > 0:
				return exit(exitUsage, "--markdown: writes all mistakes, without PATTERN")
			case asMarkdown:
				write = func(out io.Writer) error { return catalogue.Markdown(out, edits.Mistakes) }
			}
			if err := write(cmd.OutOrStdout()); err != nil {
				return exit(exitBroken, "%w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON, for programs")
	cmd.Flags().BoolVar(&asMarkdown, "markdown", false, "write Markdown, with explanations")
	cmd.MarkFlagsMutuallyExclusive("json", "markdown")
	return cmd
}

// knownMistakes lists the mistakes in attention with their variants, then the mistakes in models.
func knownMistakes() []catalogue.Mistake {
	return slices.Concat(catalogue.WithVariants, edits.Mistakes)
}

// catalogued holds the selected entries of the catalogue.
type catalogued struct {
	mistakes   []catalogue.Mistake
	identities []catalogue.Identity
}

// selectMistakes returns what one of the patterns selects, or everything if there are none.
func selectMistakes(patterns []string) (catalogued, error) {
	all := catalogued{knownMistakes(), catalogue.Identities}
	if len(patterns) == 0 {
		return all, nil
	}
	for _, p := range patterns {
		if err := fixture.CheckPattern(p); err != nil {
			return catalogued{}, exit(exitUsage, "%w", err)
		}
	}
	var chosen catalogued
	var words []string
	found := map[string]bool{}
	selects := func(id, family string) bool {
		words = append(words, id, family)
		any := false
		for _, p := range patterns {
			if fixture.Selects(p, id) || p == family {
				any, found[p] = true, true
			}
		}
		return any
	}
	for _, m := range all.mistakes {
		if selects(m.ID, string(m.Family)) {
			chosen.mistakes = append(chosen.mistakes, m)
		}
	}
	for _, i := range all.identities {
		if selects(i.ID, "identities") {
			chosen.identities = append(chosen.identities, i)
		}
	}
	for _, p := range patterns {
		if !found[p] {
			slices.Sort(words)
			return chosen, exit(exitNothing, "%q selects no mistake%s", p, meant(p, slices.Compact(words)))
		}
	}
	return chosen, nil
}

func (c catalogued) text(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, m := range c.mistakes {
		fmt.Fprintf(w, "%s\t%s\t%s\n", m.ID, m.Family, m.Title)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(c.identities) == 0 {
		return nil
	}
	fmt.Fprint(out, "\nNo mistakes; their output is the right one:\n\n")
	for _, i := range c.identities {
		fmt.Fprintf(w, "%s\t%s\n", i.ID, i.Title)
	}
	return w.Flush()
}

// json writes the catalogue for programs, in version 1 of its format.
func (c catalogued) json(out io.Writer) error {
	type entry struct {
		ID          string   `json:"id"`
		Family      string   `json:"family"`
		Title       string   `json:"title"`
		Explanation string   `json:"explanation"`
		Fix         string   `json:"fix"`
		Needs       string   `json:"needs"`
		Random      bool     `json:"random"`
		VariantOf   string   `json:"variant_of"`
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
	}{Version: 1, Mistakes: []entry{}, Identities: []identity{}}
	for _, m := range c.mistakes {
		list.Mistakes = append(list.Mistakes, entry{
			ID:          m.ID,
			Family:      string(m.Family),
			Title:       m.Title,
			Explanation: m.Explanation,
			Fix:         m.Fix,
			Needs:       m.Needs,
			Random:      m.Random,
			VariantOf:   m.VariantOf,
			Evidence:    m.Evidence,
			Refs:        append([]string{}, m.Refs...), // [] if there are none, never null
		})
	}
	for _, i := range c.identities {
		list.Identities = append(list.Identities, identity{
			ID:       i.ID,
			Title:    i.Title,
			Why:      i.Why,
			Needs:    i.Needs,
			Evidence: i.Evidence,
			Refs:     append([]string{}, i.Refs...),
		})
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(list)
}
