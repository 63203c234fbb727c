package command

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/spf13/cobra"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/checkpoint"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/npy"
)

func compareCommand() *cobra.Command {
	var keys []string
	cmd := &cobra.Command{
		Use:   "compare GOT WANT",
		Short: "Compare any two files of tensors",
		Long: `compare says how far the tensors of two files are apart, name by name: .npy, .npz, .safetensors, .pt and
.pth, in any combination. Tensors that stand alone in their files are compared whatever their names are.

Without a case there is no noise to judge a difference by but that of storing a number. Two elements agree
when they may be one number that was rounded once to each of the two types: when they are no further apart
than half a unit in the last place of the one type and half a unit of the other. Between types of different
width that is one rounding to the narrower one, within one type it is equal numbers and neighbours. Integers
and booleans must be equal. Distances are in units in the last place (ULP) of the narrower type.

Exit status: 0 all tensors agree, 1 some do not or are in one of the files alone, 2 wrong usage, 3 a file
cannot be read, 4 there is nothing to compare.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return compareFiles(cmd.OutOrStdout(), args[0], args[1], keys)
		},
		ValidArgsFunction: cobra.FixedCompletions(tensorFiles, cobra.ShellCompDirectiveFilterFileExt),
	}
	cmd.Flags().StringArrayVar(&keys, "key", nil, "only tensors that `PATTERN` selects: a name, a part of one between dots, or a glob of it (repeatable)")
	return cmd
}

// tensorFiles are the endings that the shell completes.
var tensorFiles = []cobra.Completion{"npy", "npz", "safetensors", "pt", "pth", "bin"}

// pair is a tensor in two files; one of them is nil where it is in one file alone.
type pair struct {
	name      string
	got, want *checkpoint.Tensor
}

func compareFiles(out io.Writer, gotFile, wantFile string, keys []string) error {
	got, err := openTensors(gotFile)
	if err != nil {
		return err
	}
	defer got.Close()
	want, err := openTensors(wantFile)
	if err != nil {
		return err
	}
	defer want.Close()
	pairs, err := choose(pairsOf(got, want), keys)
	if err != nil {
		return err
	}
	w := &strings.Builder{}
	fmt.Fprintf(w, "got   %s  %s\nwant  %s  %s\n\n", got.Format, place(gotFile, got), want.Format, place(wantFile, want))
	var t tally
	for _, p := range pairs {
		agreement, err := comparePair(w, p)
		if err != nil {
			return exit(exitBroken, "%w", err)
		}
		t[agreement]++
	}
	fmt.Fprintf(w, "\n%v\n", t)
	if _, err := io.WriteString(out, w.String()); err != nil {
		return exit(exitBroken, "%w", err)
	}
	if t[equal]+t[rounded] < len(pairs) {
		return &exitError{status: exitFailed}
	}
	return nil
}

func openTensors(file string) (*checkpoint.File, error) {
	f, err := checkpoint.Open(file)
	if err != nil {
		return nil, exit(exitBroken, "%w", err)
	}
	return f, nil
}

// place is a file, and where in it the tensors were.
func place(file string, f *checkpoint.File) string {
	if f.Under == "" {
		return file
	}
	return fmt.Sprintf("%s, under %q", file, f.Under)
}

// pairsOf brings the tensors of two files together, by name, sorted.
func pairsOf(got, want *checkpoint.File) []pair {
	if len(got.Tensors) == 1 && len(want.Tensors) == 1 && (got.Tensors[0].Name == "" || want.Tensors[0].Name == "") {
		return []pair{{got.Tensors[0].Name + want.Tensors[0].Name, got.Tensors[0], want.Tensors[0]}}
	}
	var pairs []pair
	for _, t := range got.Tensors {
		pairs = append(pairs, pair{t.Name, t, want.Tensor(t.Name)})
	}
	for _, t := range want.Tensors {
		if got.Tensor(t.Name) == nil {
			pairs = append(pairs, pair{name: t.Name, want: t})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	return pairs
}

// choose gives the pairs that some pattern selects, all without a pattern. A pattern that selects nothing is
// an error: it is a typing mistake.
func choose(pairs []pair, patterns []string) ([]pair, error) {
	for _, pattern := range patterns {
		if !doublestar.ValidatePattern(pattern) {
			return nil, exit(exitUsage, "--key: pattern %q is malformed", pattern)
		}
		if !slices.ContainsFunc(pairs, func(p pair) bool { return selectsKey(pattern, p.name) }) {
			return nil, exit(exitNothing, "--key: %q selects no tensor of either file", pattern)
		}
	}
	chosen := slices.DeleteFunc(pairs, func(p pair) bool {
		return len(patterns) > 0 && !slices.ContainsFunc(patterns, func(pattern string) bool { return selectsKey(pattern, p.name) })
	})
	if len(chosen) == 0 {
		return nil, exit(exitNothing, "neither file has a tensor")
	}
	return chosen, nil
}

// selectsKey says whether a pattern selects a name: itself, a glob of it, or a part of it between dots.
func selectsKey(pattern, name string) bool {
	return pattern == name || doublestar.MatchUnvalidated(pattern, name) || slices.Contains(strings.Split(name, "."), pattern)
}

// agreement is what became of a pair.
type agreement int

const (
	equal agreement = iota
	rounded
	differs
	alone
)

// tally counts the pairs by what became of them.
type tally [4]int

func (t tally) String() string {
	words := []string{"equal", "equal but for rounding", "different", "in one file alone"}
	parts := []string{}
	for i, n := range t {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, words[i]))
		}
	}
	return strings.Join(parts, ", ")
}

// comparePair writes how far a pair is apart.
func comparePair(w io.Writer, p pair) (agreement, error) {
	switch {
	case p.want == nil:
		fmt.Fprintf(w, "%s: %s %s, in got alone\n", printable(p.name), p.got.DType, attention.FormatShape(p.got.Shape))
		return alone, nil
	case p.got == nil:
		fmt.Fprintf(w, "%s: %s %s, in want alone\n", printable(p.name), p.want.DType, attention.FormatShape(p.want.Shape))
		return alone, nil
	}
	fmt.Fprintf(w, "%s: %s", printable(p.name), both(string(p.got.DType), string(p.want.DType)))
	fmt.Fprintf(w, " %s, ", both(attention.FormatShape(p.got.Shape), attention.FormatShape(p.want.Shape)))
	if !slices.Equal(p.got.Shape, p.want.Shape) {
		fmt.Fprintln(w, "the shapes differ")
		return differs, nil
	}
	got, err := p.got.Float64s()
	if err != nil {
		return 0, err
	}
	want, err := p.want.Float64s()
	if err != nil {
		return 0, err
	}
	return describe(w, p, got, want)
}

func both(got, want string) string {
	if got == want {
		return got
	}
	return got + " against " + want
}

// printable is a name as it is, or quoted where a terminal could not show it.
func printable(name string) string {
	if name == "" {
		return "the array"
	}
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// describe writes how far two arrays of one shape are apart.
func describe(w io.Writer, p pair, got, want []float64) (agreement, error) {
	d := compare.Values(p.got.Shape, got, want)
	fmt.Fprintf(w, "%d of %d elements are equal\n", d.Equal, d.Elements)
	if !p.got.DType.IsFloat() || !p.want.DType.IsFloat() {
		return describeIntegers(w, p, d)
	}
	if d.Equal == d.Elements {
		return equal, nil
	}
	narrow := narrower(p.got.DType, p.want.DType)
	u := compare.InUnits(p.got.Shape, got, want, p.got.DType.ULP, p.want.DType.ULP)
	verdict := rounded
	if u.Beyond > 0 {
		fmt.Fprintf(w, "  %d of %d elements are more than a rounding of %s apart\n", u.Beyond, d.Elements, narrow)
		verdict = differs
	}
	fmt.Fprintf(w, "  rel %.3g, gain %.3g, cosine %.6f (rounding alone: float32 1e-7, float16 5e-4, bfloat16 4e-3)\n", d.Rel, d.Gain, d.Cosine)
	fmt.Fprintf(w, "  ULP of %s: median %.3g, largest %.3g at %s\n", narrow, u.Median, u.Largest.Z, u.Largest.Place())
	fmt.Fprintf(w, "  largest difference at %s: got %.9g, want %.9g\n", d.Largest.Place(), d.Largest.Got, d.Largest.Want)
	return verdict, nil
}

// describeIntegers compares what has no rounding. Numbers of one type are compared by their bytes: float64 has
// no room for some of them.
func describeIntegers(w io.Writer, p pair, d compare.Difference) (agreement, error) {
	same := d.Equal == d.Elements
	if same && p.got.DType == p.want.DType {
		got, err := p.got.Bytes()
		if err != nil {
			return 0, err
		}
		want, err := p.want.Bytes()
		if err != nil {
			return 0, err
		}
		if same = bytes.Equal(got, want); !same {
			fmt.Fprintln(w, "  equal in float64, but not in all digits")
		}
	}
	if same {
		return equal, nil
	}
	fmt.Fprintf(w, "  largest difference at %s: got %.9g, want %.9g\n", d.Largest.Place(), d.Largest.Got, d.Largest.Want)
	return differs, nil
}

// narrower is the type with the larger unit in the last place.
func narrower(a, b npy.DType) npy.DType {
	if b.ULP(1) > a.ULP(1) {
		return b
	}
	return a
}
