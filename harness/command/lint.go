package command

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/coverage"
	"github.com/difftest/difftest/harness/internal/replay"
)

func lintCommand() *cobra.Command {
	var suite suiteFlag
	var selection selectionFlags
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Tell which mistakes the cases can and cannot see",
		Long: `lint makes every known mistake on every case in float64. For each case it lists
the mistakes that the case sees, those it is blind to, with the reason, and
those it cannot tell apart. For all cases together it lists the mistakes that no
case sees and those that no case tells apart. The core are the fewest cases that
see and tell apart all other mistakes.

Exit status:
  0  the mistakes are listed
  2  wrong usage
  3  a case is broken
  4  nothing was selected`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lintSuite(&suite, &selection)
			if err != nil {
				return err
			}
			if err := writeLint(cmd.OutOrStdout(), l); err != nil {
				return exit(exitBroken, "%w", err)
			}
			return nil
		},
	}
	suite.add(cmd)
	selection.add(cmd, &suite)
	return cmd
}

func lintSuite(suite *suiteFlag, selection *selectionFlags) (*coverage.Lint, error) {
	fsys, selected, err := selection.cases(suite)
	if err != nil {
		return nil, err
	}
	l, err := coverage.New(fsys, selected...)
	if err != nil {
		return nil, exit(exitBroken, "%w", err)
	}
	return l, nil
}

func writeLint(out io.Writer, l *coverage.Lint) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range l.Cases {
		fmt.Fprintf(w, "%s\n", c.Case)
		writeSight(w, "  ", c.Sight)
		fmt.Fprintln(w)
	}
	if l.Summary.Cases > 0 {
		writeSummary(w, "mistakes", l.Summary)
	}
	if l.Modules.Cases > 0 {
		writeSummary(w, "mistakes in modules", l.Modules)
	}
	return w.Flush()
}

// writeSummary writes the coverage of a catalogue by all cases together.
func writeSummary(w io.Writer, what string, s coverage.Summary) {
	fmt.Fprintf(w, "%d %s on %d cases\n", len(s.Mistakes), what, s.Cases)
	writeWrapped(w, "  seen by no case", coverage.IDs(s.Unseen))
	writeWrapped(w, "  seen by one case", coverage.IDs(s.SeenOnce))
	writeWrapped(w, "  told apart by no case", groupsText(s.Merged))
	writeWrapped(w, fmt.Sprintf("  core, %d cases", len(s.Core)), strings.Join(s.Core, ", "))
}

// writeSight writes the mistakes that a case sees, is blind to, or has no use for.
func writeSight(w io.Writer, indent string, s replay.Visibility) {
	if len(s.Seen)+len(s.Blind)+len(s.Absent) == 0 {
		writeWrapped(w, indent+"sees", "no known mistake: the graph of this module is not known, "+
			"and it is judged by the noise that the case holds")
		return
	}
	writeWrapped(w, indent+"sees", coverage.IDs(s.Seen))
	if len(s.Alike) > 0 {
		writeWrapped(w, indent+"cannot tell apart", groupsText(s.Alike))
	}
	blind, absent := byReason{}, byReason{}
	for _, b := range s.Blind {
		blind.add(b.Why, b.Mistake)
	}
	for _, m := range s.Absent {
		needs := "needs " + m.Needs
		if m.Edit != nil {
			needs = "the graph has no place for it"
		}
		absent.add(needs, m)
	}
	blind.write(w, indent+"blind to")
	absent.write(w, indent+"does not apply")
}

// byReason groups the mistakes that a case does not see by the reason.
type byReason struct {
	reasons  []string
	mistakes [][]catalogue.Mistake
}

func (r *byReason) add(reason string, m catalogue.Mistake) {
	i := slices.Index(r.reasons, reason)
	if i < 0 {
		i = len(r.reasons)
		r.reasons, r.mistakes = append(r.reasons, reason), append(r.mistakes, nil)
	}
	r.mistakes[i] = append(r.mistakes[i], m)
}

func (r *byReason) write(w io.Writer, label string) {
	for i, reason := range r.reasons {
		writeWrapped(w, label, coverage.IDs(r.mistakes[i])+": "+reason)
	}
}

// writeWrapped writes a label and a long text beside it. With labels of up to 23 characters, the
// lines fit a terminal of 80 columns.
func writeWrapped(w io.Writer, label, text string) {
	const width = 55
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			fmt.Fprintf(w, "%s\t%s\n", label, line)
			label, line = "", ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	fmt.Fprintf(w, "%s\t%s\n", label, line)
}

func groupsText(groups [][]catalogue.Mistake) string {
	if len(groups) == 0 {
		return "none"
	}
	var words []string
	for _, group := range groups {
		words = append(words, "{"+coverage.IDs(group)+"}")
	}
	return strings.Join(words, " ")
}
