package command

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/spf13/cobra"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/checkpoint"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/printable"
)

func compareCommand() *cobra.Command {
	var keys []string
	cmd := &cobra.Command{
		Use:   "compare GOT WANT",
		Short: "Compare any two files of tensors",
		Long: `compare measures how far the tensors of two files are apart, name by name. The
files may be .npy, .npz, .safetensors, .pt and .pth, in any combination, or an
index of shards. If each file holds a single tensor, the two are compared
whatever their names are.

Without a case there is no noise to judge by but the rounding of a stored
number. Two elements agree if one number, rounded once to each of the two types,
can give both. Their distance is then at most half a unit in the last place of
each type. In files of one type such elements are equal or neighbours. Integers
and booleans must be equal. Distances are in units in the last place (ULP) of
the narrower type.

Exit status:
  0  all tensors agree
  1  a tensor differs, has a type that is not read, or stands in one file only
  2  wrong usage
  3  a file cannot be read
  4  there is nothing to compare`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return writeUnlessInterrupted(cmd, func(out io.Writer) error {
				return compareFiles(out, args[0], args[1], keys)
			})
		},
		ValidArgsFunction: cobra.FixedCompletions(tensorFiles, cobra.ShellCompDirectiveFilterFileExt),
	}
	cmd.Flags().StringArrayVar(&keys, "key", nil,
		"compare only tensors that `PATTERN` selects: a name, a part of it between dots, or a glob (repeatable)")
	return cmd
}

// tensorFiles are the file name endings that the shell completes.
var tensorFiles = []cobra.Completion{"npy", "npz", "safetensors", "pt", "pth", "bin", "json"}

// pair is a tensor in two files. got or want is nil if the tensor stands in the other file only.
type pair struct {
	name              string
	got, want         *checkpoint.Tensor
	gotFile, wantFile string
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
	fmt.Fprintf(w, "got   %s  %s\n", got.Format, place(gotFile, got))
	fmt.Fprintf(w, "want  %s  %s\n\n", want.Format, place(wantFile, want))
	var t tally
	for _, p := range pairs {
		p.gotFile, p.wantFile = gotFile, wantFile
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

// place names a file, and the entry in it that holds the tensors.
func place(file string, f *checkpoint.File) string {
	if f.Under == "" {
		return file
	}
	return fmt.Sprintf("%s, under %q", file, f.Under)
}

// pairsOf pairs the tensors of two files by name, and sorts the pairs.
func pairsOf(got, want *checkpoint.File) []pair {
	if len(got.Tensors) == 1 && len(want.Tensors) == 1 {
		g, w := got.Tensors[0], want.Tensors[0]
		if g.Name == "" || w.Name == "" {
			return []pair{{name: g.Name + w.Name, got: g, want: w}}
		}
	}
	var pairs []pair
	for _, t := range got.Tensors {
		pairs = append(pairs, pair{name: t.Name, got: t, want: want.Tensor(t.Name)})
	}
	for _, t := range want.Tensors {
		if got.Tensor(t.Name) == nil {
			pairs = append(pairs, pair{name: t.Name, want: t})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	return pairs
}

// choose returns the pairs that any pattern selects, or all pairs if there is no pattern. A pattern
// that selects nothing is an error, because it is probably a typing mistake.
func choose(pairs []pair, patterns []string) ([]pair, error) {
	if len(patterns) == 0 {
		if len(pairs) == 0 {
			return nil, exit(exitNothing, "neither file has a tensor")
		}
		return pairs, nil
	}
	chosen := map[string]bool{}
	for _, pattern := range patterns {
		if err := fixture.CheckPattern(pattern); err != nil {
			return nil, exit(exitUsage, "--key: %w", err)
		}
		found := false
		for _, p := range pairs {
			if selectsKey(pattern, p.name) {
				found, chosen[p.name] = true, true
			}
		}
		if !found {
			return nil, exit(exitNothing, "--key: %q selects no tensor of either file", pattern)
		}
	}
	return slices.DeleteFunc(pairs, func(p pair) bool { return !chosen[p.name] }), nil
}

// selectsKey reports whether pattern is name, a part of it between dots, or a glob that matches it.
func selectsKey(pattern, name string) bool {
	return pattern == name ||
		doublestar.MatchUnvalidated(pattern, name) ||
		slices.Contains(strings.Split(name, "."), pattern)
}

// agreement is the outcome of a pair.
type agreement int

const (
	equal agreement = iota
	rounded
	differs
	unread
	alone
)

// tally counts the pairs of each agreement.
type tally [5]int

func (t tally) String() string {
	words := []string{"equal", "equal up to rounding", "different", "of a type that is not read", "in one file only"}
	parts := []string{}
	for i, n := range t {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, words[i]))
		}
	}
	return strings.Join(parts, ", ")
}

// comparePair writes how far the two tensors of a pair are apart.
func comparePair(w io.Writer, p pair) (agreement, error) {
	switch {
	case p.want == nil:
		fmt.Fprintf(w, "%s: %s %s, only in got\n", named(p.name), p.got.DType, attention.FormatShape(p.got.Shape))
		return alone, nil
	case p.got == nil:
		fmt.Fprintf(w, "%s: %s %s, only in want\n", named(p.name), p.want.DType, attention.FormatShape(p.want.Shape))
		return alone, nil
	}
	fmt.Fprintf(w, "%s: %s", named(p.name), both(string(p.got.DType), string(p.want.DType)))
	fmt.Fprintf(w, " %s, ", both(attention.FormatShape(p.got.Shape), attention.FormatShape(p.want.Shape)))
	if !p.got.Readable() || !p.want.Readable() {
		fmt.Fprintln(w, "values of this type are not read")
		return unread, nil
	}
	if !slices.Equal(p.got.Shape, p.want.Shape) {
		fmt.Fprintln(w, "the shapes differ")
		return differs, nil
	}
	m, err := measure(p)
	if err != nil {
		return 0, err
	}
	return m.describe(w), nil
}

func both(got, want string) string {
	if got == want {
		return got
	}
	return got + " against " + want
}

// named returns a tensor's name, safe to print. The tensor of a .npy file has no name.
func named(name string) string {
	if name == "" {
		return "the array"
	}
	return printable.Name(name)
}

// measured holds how far two tensors of the same shape are apart.
type measured struct {
	pair
	compare.Difference
	units     compare.Units // of floating-point numbers
	sameBytes bool          // of tensors of the same type
}

// measure reads both tensors at once, block by block.
func measure(p pair) (*measured, error) {
	got, err := p.got.Stream()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.gotFile, err)
	}
	defer got.Close()
	want, err := p.want.Stream()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.wantFile, err)
	}
	defer want.Close()
	m := &measured{pair: p, sameBytes: p.got.DType == p.want.DType}
	r := compare.NewRunning(p.got.Shape)
	if m.floats() {
		r.InUnits(p.got.DType.ULP, p.want.DType.ULP)
	}
	for {
		a, errGot := got.Next()
		b, errWant := want.Next()
		switch {
		case errGot == io.EOF && errWant == io.EOF:
			m.Difference, m.units = r.Difference(), r.Units()
			return m, nil
		case errGot != nil:
			return nil, fmt.Errorf("%s: %w", p.gotFile, errGot)
		case errWant != nil:
			return nil, fmt.Errorf("%s: %w", p.wantFile, errWant)
		}
		m.sameBytes = m.sameBytes && bytes.Equal(a, b)
		r.Add(got.Decode(a), want.Decode(b))
	}
}

// floats reports whether both tensors hold floating-point numbers.
func (m *measured) floats() bool { return m.got.DType.IsFloat() && m.want.DType.IsFloat() }

// describe writes the result.
func (m *measured) describe(w io.Writer) agreement {
	fmt.Fprintf(w, "%d of %d elements are equal\n", m.Equal, m.Elements)
	if !m.floats() {
		return m.describeIntegers(w)
	}
	if m.Equal == m.Elements {
		return equal
	}
	narrow := narrower(m.got.DType, m.want.DType)
	verdict := rounded
	if m.units.Beyond > 0 {
		fmt.Fprintf(w, "  %d of %d elements are more than a rounding of %s apart\n", m.units.Beyond, m.Elements, narrow)
		verdict = differs
	}
	fmt.Fprintf(w, "  rel %.3g, gain %.3g, cosine %.6f\n", m.Rel, m.Gain, m.Cosine)
	fmt.Fprintln(w, "  (rounding alone gives a rel of 1e-7 in float32, 5e-4 in float16, 4e-3 in bfloat16)")
	fmt.Fprintf(w, "  ULP of %s: median %.3g, largest %.3g at %s\n",
		narrow, m.units.Median, m.units.Largest.Z, m.units.Largest.Place())
	writeLargest(w, m.Difference)
	return verdict
}

// describeIntegers compares integers and booleans, which have no rounding. Numbers of the same type
// are compared by their bytes, because float64 cannot hold every int64.
func (m *measured) describeIntegers(w io.Writer) agreement {
	same := m.Equal == m.Elements
	if same && m.got.DType == m.want.DType && !m.sameBytes {
		fmt.Fprintln(w, "  equal in float64, but not in all digits")
		same = false
	}
	if same {
		return equal
	}
	writeLargest(w, m.Difference)
	return differs
}

func writeLargest(w io.Writer, d compare.Difference) {
	l := d.Largest
	fmt.Fprintf(w, "  largest difference at %s: got %.9g, want %.9g\n", l.Place(), l.Got, l.Want)
}

// narrower returns the type with the larger unit in the last place.
func narrower(a, b npy.DType) npy.DType {
	if b.ULP(1) > a.ULP(1) {
		return b
	}
	return a
}
