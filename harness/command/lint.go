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
	var patterns, skip []string
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Make every known mistake on every case: what the cases see, what they cannot see, and why",
		Long: `lint makes every known mistake on every case in float64 and says, of each case, which ones it sees,
which it cannot see and why, and which it cannot tell apart; of all of them together, which mistakes
no case sees, which no case tells apart, and the fewest cases that see and tell apart all the rest.

Exit status: 0 done, 2 wrong usage, 3 a case is broken, 4 nothing was selected.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lintSuite(&suite, patterns, skip)
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
	cmd.Flags().StringArrayVar(&patterns, "case", nil, "only cases that the pattern selects: mha/**, or a word (repeatable)")
	cmd.Flags().StringArrayVar(&skip, "skip", nil, "leave out the cases that the pattern selects (repeatable)")
	_ = cmd.RegisterFlagCompletionFunc("case", suite.complete)
	_ = cmd.RegisterFlagCompletionFunc("skip", suite.complete)
	return cmd
}

func lintSuite(suite *suiteFlag, patterns, skip []string) (*coverage.Lint, error) {
	fsys, names, err := suite.cases()
	if err != nil {
		return nil, err
	}
	selected, err := selectCases(names, patterns, skip)
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
	fmt.Fprintf(w, "%d mistakes on %d cases\n", len(catalogue.Mistakes), len(l.Cases))
	writeWrapped(w, "  seen by no case", coverage.IDs(l.Unseen))
	writeWrapped(w, "  seen by one case", coverage.IDs(l.SeenOnce))
	writeWrapped(w, "  told apart by no case", groupsText(l.Merged))
	writeWrapped(w, fmt.Sprintf("  core, %d cases", len(l.Core)), strings.Join(l.Core, ", "))
	return w.Flush()
}

// writeSight says what a case sees.
func writeSight(w io.Writer, indent string, s replay.Visibility) {
	if len(s.Seen)+len(s.Blind)+len(s.Absent) == 0 {
		fmt.Fprintf(w, "%ssees\tno known mistake: the oracle does not know this module, and judges it by the case's own noise\n", indent)
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
		absent.add("needs "+m.Needs, m)
	}
	blind.write(w, indent+"blind to")
	absent.write(w, indent+"nothing of")
}

// byReason groups mistakes that a case does not see for one reason.
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

// writeWrapped writes a label and a long text beside it, in lines that fit a terminal.
func writeWrapped(w io.Writer, label, text string) {
	const width = 100
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
