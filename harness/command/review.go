package command

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/review"
)

func reviewCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "review OLD NEW",
		Short: "Compare two suites: what moved, and by more than rounding?",
		Long: `review compares the folders of two suites file by file, for instance before and
after a change of PyTorch. It names every file that differs, worst first.

An expected output may move by rounding: it is judged on the old case as any
output is. A float64 truth may move by 1e-12 of its largest value. Inputs,
parameters, masks, and the fields of case.json except provenance may not move.
Distances are in units in the last place (ULP) of the largest value in the row.

Exit status:
  0  nothing moved by more than rounding
  1  a file moved by more, is new, or is gone
  2  wrong usage
  3  a folder or a file cannot be read`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return writeUnlessInterrupted(cmd, func(out io.Writer) error { return reviewSuites(out, args[0], args[1]) })
		},
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs),
	}
}

// reviewSuites compares the suites in two folders. Links that lead out of a folder are not
// followed.
func reviewSuites(out io.Writer, before, after string) error {
	var suites [2]review.Suite
	for i, dir := range []string{before, after} {
		root, err := openFolder(dir)
		if err != nil {
			return exit(exitBroken, "%w", err)
		}
		defer root.Close()
		suites[i] = review.Suite{Name: dir, FS: root.FS()}
	}
	r, unread := review.Suites(suites[0], suites[1])
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

// writeReview names the files that differ, and counts all files by kind.
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
