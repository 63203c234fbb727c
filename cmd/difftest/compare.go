package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/compare"
	"github.com/difftest/difftest/harness/fixture"
)

func compareCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compare GOT.npy WANT.npy",
		Short: "Compare any two files of numbers",
		Long: `compare says how far two arrays are apart. Without a case there is no noise to judge the
difference by, so the exit status says only whether all values are equal: 0 equal, 1 different.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return compareFiles(cmd.OutOrStdout(), args[0], args[1])
		},
		ValidArgsFunction: cobra.FixedCompletions([]cobra.Completion{"npy"}, cobra.ShellCompDirectiveFilterFileExt),
	}
}

func compareFiles(out io.Writer, gotFile, wantFile string) error {
	a, got, err := readOutput(gotFile, fixture.Float32)
	if err != nil {
		return err
	}
	b, want, err := readOutput(wantFile, fixture.Float32)
	if err != nil {
		return err
	}
	w := &strings.Builder{}
	fmt.Fprintf(w, "got   %s %s  %s\nwant  %s %s  %s\n",
		a.DType, attention.FormatShape(a.Shape), gotFile, b.DType, attention.FormatShape(b.Shape), wantFile)
	equal := describe(w, a.Shape, b.Shape, got, want)
	if _, err := io.WriteString(out, w.String()); err != nil {
		return exit(exitBroken, "%w", err)
	}
	if !equal {
		return &exitError{status: exitFailed}
	}
	return nil
}

// describe writes how far two arrays are apart, and says whether they are equal.
func describe(w io.Writer, gotShape, wantShape []int, got, want []float64) (equal bool) {
	if !slices.Equal(gotShape, wantShape) {
		fmt.Fprintln(w, "the shapes differ")
		return false
	}
	d := compare.Values(gotShape, got, want)
	fmt.Fprintf(w, "%d of %d elements are equal\n", d.Equal, d.Elements)
	if d.Equal == d.Elements {
		return true
	}
	fmt.Fprintf(w, "rel %.3g, gain %.3g, cosine %.6f (rounding alone: float32 1e-7, float16 5e-4, bfloat16 4e-3)\n", d.Rel, d.Gain, d.Cosine)
	fmt.Fprintf(w, "largest difference at %s: got %.9g, want %.9g\n", d.Largest.Place(), d.Largest.Got, d.Largest.Want)
	return false
}
