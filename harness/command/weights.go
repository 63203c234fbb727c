package command

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/checkpoint"
	"github.com/difftest/difftest/harness/internal/fixture"
)

func weightsCommand() *cobra.Command {
	var suite suiteFlag
	var against string
	cmd := &cobra.Command{
		Use:   "weights FILE",
		Short: "List a file of weights, and compare it with a case's",
		Long: `weights lists the tensors of a .safetensors, .pt, .pth, .npz or .npy file: type,
shape, mean, standard deviation and share of zeros. It points out values that
look untrained or never loaded, and tensors with the same bytes. It recognises
the layouts of attention layers by the names of their parameters. A checkpoint
in several files is named by its index, model.safetensors.index.json or
pytorch_model.bin.index.json, or by the folder of the index.

With --against it says whether the layer or the captured module of a case would
load the file: which keys are missing or unexpected, and which shapes differ. It
also compares every value with the case's own, and explains a difference if all
numbers show it: keys exchanged or renamed, a prefix, a transpose, parts that
are stacked, split or interleaved, rows in another order, w - 1 for w, the bits
of another type, never loaded. Values that are all equal prove nothing, and it
says so.

Exit status:
  0  the file can be read and, with --against, would load and has the case's
     values, to a rounding to the type that its numbers show
  1  the file would not load, or has other values
  2  wrong usage
  3  the file or the case is broken
  4  the file has no tensor, or no case is selected`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return writeUnlessInterrupted(cmd, func(out io.Writer) error {
				return weights(out, &suite, args[0], against)
			})
		},
		ValidArgsFunction: cobra.FixedCompletions(tensorFiles, cobra.ShellCompDirectiveFilterFileExt),
	}
	suite.add(cmd)
	cmd.Flags().StringVar(&against, "against", "", "compare the file with the parameters of `CASE`")
	_ = cmd.RegisterFlagCompletionFunc("against", suite.complete)
	return cmd
}

func weights(out io.Writer, suite *suiteFlag, file, against string) error {
	c, err := parametersOf(suite, against)
	if err != nil {
		return err
	}
	f, err := openTensors(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if len(f.Tensors) == 0 {
		return exit(exitNothing, "%s: the file has no tensor", file)
	}
	w := &strings.Builder{}
	if err := inspect(w, file, f); err != nil {
		return exit(exitBroken, "%s: %w", file, err)
	}
	fits := true
	if c != nil {
		if fits, err = holdAgainst(w, f, c); err != nil {
			return exit(exitBroken, "%s: %w", file, err)
		}
	}
	if _, err := io.WriteString(out, w.String()); err != nil {
		return exit(exitBroken, "%w", err)
	}
	if !fits {
		return &exitError{status: exitFailed}
	}
	return nil
}

// parametersOf reads the case of --against, which must have a state dict. It returns nil if pattern
// is empty.
func parametersOf(suite *suiteFlag, pattern string) (*fixture.Case, error) {
	if pattern == "" {
		return nil, nil
	}
	c, err := suite.read(pattern)
	if err == nil && c.Op == fixture.SDPA {
		err = exit(exitUsage, "--against: %s is a case of %s, which has no state dict", c.Name, c.Op)
	}
	return c, err
}

// inspect writes the contents of a file.
func inspect(out io.Writer, file string, f *checkpoint.File) error {
	shards := ""
	if len(f.Shards) > 0 {
		shards = fmt.Sprintf(" in %d files", len(f.Shards))
	}
	fmt.Fprintf(out, "%s: %s%s, %d tensors\n", place(file, f), f.Format, shards, len(f.Tensors))
	if len(f.Other) > 0 {
		fmt.Fprintf(out, "not tensors: %s\n", namedAll(f.Other))
	}
	fmt.Fprintf(out, "layout: %s\n\n", layoutOf(f))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, t := range f.Tensors {
		if !t.Readable() {
			fmt.Fprintf(w, "%s\t%s\t%s\tvalues of this type are not read\n",
				named(t.Name), t.DType, attention.FormatShape(t.Shape))
			continue
		}
		s, err := t.Statistics()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", named(t.Name), t.DType, attention.FormatShape(t.Shape), statisticsText(s))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	twins, err := f.Twins()
	for _, group := range twins {
		fmt.Fprintf(out, "same bytes: %s\n", namedAll(group))
	}
	return err
}

func namedAll(names []string) string {
	var words []string
	for _, name := range names {
		words = append(words, named(name))
	}
	return strings.Join(words, ", ")
}

// layoutOf returns the layout of an attention layer that the names of the tensors fit.
func layoutOf(f *checkpoint.File) string {
	names := attention.StateDict{}
	for _, t := range f.Tensors {
		names[t.Name] = nil
	}
	found, err := attention.Recognize(names)
	if err == nil {
		return found.String()
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return fmt.Sprintf("%d attention layers", len(joined.Unwrap())-1)
	}
	return "not an attention layer"
}

func statisticsText(s checkpoint.Statistics) string {
	if s.Elements == 0 {
		return "no element"
	}
	text := fmt.Sprintf("mean %.3g\tstd %.3g\tzeros %.3g %%", s.Mean, s.Std, 100*float64(s.Zeros)/float64(s.Elements))
	if s.NonFinite > 0 {
		text += fmt.Sprintf("\t%d NaN or infinite", s.NonFinite)
	}
	if s.Origin != "" {
		text += "\t" + s.Origin
	}
	return text
}
