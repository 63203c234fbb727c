package command

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/review"
)

func reviewCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "review OLD NEW",
		Short: "Compare two folders of cases: what another PyTorch moved, and whether it is more than rounding",
		Long: `review compares two suites file by file, and names every file that is not identical, worst first.
ULP are those of the largest value in an element's row. An expected output is judged on the old case
as any output is; a float64 truth may move by 1e-12 of its largest value; inputs, parameters, masks
and the fields of case.json other than provenance may not move.

Exit status: 0 nothing moved more than rounding, 1 something did or is new or gone, 2 wrong usage,
3 a folder or a file cannot be read.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return reviewSuites(cmd.OutOrStdout(), args[0], args[1])
		},
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs),
	}
}

func reviewSuites(out io.Writer, before, after string) error {
	olds, err := openSuite(before)
	if err != nil {
		return err
	}
	news, err := openSuite(after)
	if err != nil {
		return err
	}
	r, unread := review.Suites(olds, news)
	if r == nil {
		return exit(exitBroken, "%w", unread)
	}
	if err := writeReview(out, r); err != nil {
		return exit(exitBroken, "%w", err)
	}
	switch {
	case unread != nil:
		return exit(exitBroken, "%w", unread)
	case !r.OK():
		return &exitError{status: exitFailed}
	}
	return nil
}

// openSuite gives the suite in a folder. A link in it that leads out of the folder cannot be followed.
func openSuite(dir string) (review.Suite, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return review.Suite{}, exit(exitBroken, "%w", err)
	}
	return review.Suite{Name: dir, FS: root.FS()}, nil
}

// writeReview names what is not identical, and counts everything.
func writeReview(out io.Writer, r *review.Review) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range r.Files {
		if f.Kind != review.Identical {
			fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%s\t%s\t%s", f.Kind, f.Path, f.Detail), "\t"))
		}
	}
	var words []string
	for _, kind := range review.Kinds {
		words = append(words, fmt.Sprintf("%d %s", r.Count(kind), kind))
	}
	fmt.Fprintf(w, "%d files: %s\n", len(r.Files), strings.Join(words, ", "))
	return w.Flush()
}
