package command

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
)

func showCommand() *cobra.Command {
	var suite suiteFlag
	cmd := &cobra.Command{
		Use:   "show CASE...",
		Short: "Describe a case: configuration, tensors, origin, blind spots",
		Long: `show describes a case: its operation and configuration, its tensors, the PyTorch
call that made it, and the mistakes that it sees, cannot tell apart or is blind
to. CASE is a name, or a pattern that selects cases.

Exit status: 0, 2 for wrong usage, 3 if the case is broken, or 4 if there is no
such case.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cases, err := suite.readAll(args)
			if err != nil {
				return err
			}
			for i, c := range cases {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := show(cmd.OutOrStdout(), c); err != nil {
					return err
				}
			}
			return nil
		},
		ValidArgsFunction: suite.complete,
	}
	suite.add(cmd)
	return cmd
}

func show(out io.Writer, c *fixture.Case) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\n%s\n\n", c.Name, c.Purpose)
	fmt.Fprintf(w, "operation\t%s\n", c.Op)
	for _, line := range configuration(c) {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
	for _, role := range slices.Sorted(maps.Keys(c.Roles)) {
		f := c.Files[c.Roles[role]]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s%s\n",
			role, c.Roles[role], f.DType, attention.FormatShape(f.Shape), meaning[role])
	}
	if err := writeDescription(w, c); err != nil {
		return exit(exitBroken, "%w", err)
	}
	p := c.Provenance
	fmt.Fprintln(w)
	writeWrapped(w, "made by", fmt.Sprintf("%s, PyTorch %s (%.10s), NumPy %s, Python %s",
		p.Function, p.Torch, p.TorchGit, p.NumPy, p.Python))
	writeWrapped(w, "", p.Call)
	settings := fmt.Sprintf("seed %d, threads %d, oneDNN %s", p.Seed, p.Threads, onOff(p.MKLDNN))
	for _, name := range slices.Sorted(maps.Keys(p.Environment)) {
		settings += fmt.Sprintf(", %s=%s", name, p.Environment[name])
	}
	writeWrapped(w, "", settings)
	fmt.Fprintln(w)
	referee, err := judge.New(context.Background(), c, oracle.Precision{})
	if err != nil {
		return exit(exitBroken, "%w", err)
	}
	writeSight(w, "", referee.Sees())
	if err := w.Flush(); err != nil {
		return exit(exitBroken, "%w", err)
	}
	return nil
}

// writeDescription prints the structure and the settings of a module, if the case has them.
func writeDescription(w io.Writer, c *fixture.Case) error {
	if len(c.Structure) > 0 {
		fmt.Fprintf(w, "\nstructure\n")
	}
	for _, line := range c.Structure {
		fmt.Fprintf(w, "  %s\n", line)
	}
	if c.Settings == nil {
		return nil
	}
	settings := c.Settings.Clone()
	if err := settings.Indent(jsontext.WithIndent("  "), jsontext.WithIndentPrefix("  ")); err != nil {
		return fmt.Errorf("config.settings: %w", err)
	}
	fmt.Fprintf(w, "\nsettings\n  %s\n", settings)
	return nil
}

// meaning explains the values of masks.
var meaning = map[string]string{
	"inputs.allow":   "  true takes part",
	"inputs.block":   "  true is ignored",
	"inputs.padding": "  true is ignored",
	"inputs.bias":    "  added to the scores",
}

// configuration returns the lines that describe the operation of a case, without the options that
// the case does not use.
func configuration(c *fixture.Case) []string {
	empty := map[attention.EmptyRow]string{attention.EmptyZero: "zeros", attention.EmptyNaN: "NaN"}[c.EmptyRow()]
	switch c.Op {
	case fixture.SDPA:
		return functionLines(c, empty)
	case fixture.MultiHead:
		return layerLines(c.Layer, empty)
	case fixture.Rotary:
		return rotaryLines(c)
	}
	return moduleLines(c)
}

// moduleLines describe a module. Its structure and settings follow the tensors.
func moduleLines(c *fixture.Case) []string {
	lines := []string{"module\t" + c.Module}
	if c.Part != "" {
		lines = append(lines, "output\t"+c.Part+" of its result")
	}
	if c.Stored != "" {
		lines = append(lines, fmt.Sprintf("parameters\t%s, computed in float32", c.Stored))
	}
	switch {
	case c.Graph != nil:
		lines = append(lines, "graph\tknown: mistakes in the module are named")
	case c.NoGraph != "":
		lines = append(lines, "graph\tnone: "+c.NoGraph)
	}
	for _, p := range c.Padded {
		const text = "padding\t%s hides %d of %d tokens, whose rows are not judged"
		lines = append(lines, fmt.Sprintf(text, p.Mask, p.Count(), len(p.Rows.Data)))
	}
	return lines
}

func rotaryLines(c *fixture.Case) []string {
	lines := []string{"pairs\t" + fixture.Word(c.Rotation.Style)}
	if c.Rotation.Dim > 0 {
		lines = append(lines, fmt.Sprintf("features that turn\t%d", c.Rotation.Dim))
	}
	if c.Rotation.NumHeads > 0 {
		lines = append(lines, fmt.Sprintf("heads\t%d, side by side", c.Rotation.NumHeads))
	}
	if c.Precision != fixture.Float32 {
		lines = append(lines, fmt.Sprintf("precision\t%s", c.Precision))
	}
	return lines
}

func functionLines(c *fixture.Case, empty string) []string {
	o := c.Options
	causality := map[attention.Causality]string{
		attention.NotCausal:  "no",
		attention.TopLeft:    "yes",
		attention.LowerRight: "yes, aligned lower right: the last query sees every key",
	}
	if o.KeyLengths != nil {
		causality[attention.LowerRight] = "yes, aligned lower right: the last query sees every valid key"
	}
	lines := []string{
		"causal\t" + causality[o.Causality],
		"scale\t" + scaleText(o.Scale),
		"row without keys\t" + empty,
	}
	if c.Precision != fixture.Float32 {
		lines = append(lines, fmt.Sprintf("precision\t%s", c.Precision))
	}
	if o.GroupedQuery {
		q, k := c.Inputs.Query.Shape, c.Inputs.Key.Shape
		lines = append(lines, fmt.Sprintf("heads\t%d, for key and value %d", q[len(q)-3], k[len(k)-3]))
	}
	if c.SoftmaxPrecision != "" {
		lines = append(lines, fmt.Sprintf("softmax\tin %s", c.SoftmaxPrecision))
	}
	return append(lines, scoreLines(o.Window, o.Softcap, o.ALiBi, o.Sinks != nil)...)
}

func layerLines(l attention.Config, empty string) []string {
	heads, width := fmt.Sprint(l.NumHeads), l.HeadDim
	if l.NumKVHeads > 0 {
		heads += fmt.Sprintf(", for key and value %d,", l.NumKVHeads)
	}
	if width == 0 {
		width = l.EmbedDim / l.NumHeads
	}
	biases := yesNo(!l.WithoutBias)
	if l.WithoutOutputBias {
		biases += ", but none of the output"
	}
	lines := []string{
		fmt.Sprintf("embed dim\t%d, key %d, value %d", l.EmbedDim, l.KDim, l.VDim),
		fmt.Sprintf("heads\t%s of width %d", heads, width),
		"biases\t" + biases,
		"parameters\t" + attention.Recognized{ParamLayout: l.ParamLayout, Prefix: l.Prefix}.String(),
		"causal\t" + yesNo(!l.Bidirectional),
		"scale\t" + scaleText(l.Scale),
		"row without keys\tcontext of " + empty,
	}
	if r := l.RoPE; r != nil {
		style := map[attention.RoPEStyle]string{
			attention.HalfSplit:   "half split",
			attention.Interleaved: "interleaved",
		}[r.Style]
		lines = append(lines, fmt.Sprintf("rope\t%s, %d features, base %g, positions divided by %g",
			style, r.Dim, r.Base, r.Factor))
	}
	if l.QKNorm != nil {
		lines = append(lines, fmt.Sprintf("qk norm\tepsilon %g", l.QKNorm.Epsilon))
	}
	lines = append(lines, scoreLines(l.Window, l.Softcap, l.ALiBi, l.Sinks)...)
	for _, option := range []struct {
		on   bool
		text string
	}{
		{l.RelativeBias > 0, fmt.Sprintf("relative bias\tup to a distance of %d", l.RelativeBias)},
		{l.BiasKV, "bias kv\tbias_k and bias_v behind the keys and values"},
		{l.ZeroAttn, "zero attn\ta key and value of zeros behind all"},
		{l.InputLayout == attention.SequenceFirst, "order\t(T, B, D)"},
		{l.InputLayout == attention.Unbatched, "order\t(T, D), no batch"},
		{l.NeedWeights == attention.AveragedWeights, "weights\treturned, averaged over the heads"},
		{l.NeedWeights == attention.WeightsPerHead, "weights\treturned, of every head"},
	} {
		if option.on {
			lines = append(lines, option.text)
		}
	}
	return lines
}

func scaleText(scale float64) string {
	if scale == 0 {
		return "1/sqrt(E), the default"
	}
	return fmt.Sprint(scale)
}

// scoreLines describe the options that change the scores.
func scoreLines(window int, softcap float64, alibi, sinks bool) []string {
	var lines []string
	if window > 0 {
		lines = append(lines, fmt.Sprintf("window\tkeys at a distance below %d", window))
	}
	if softcap > 0 {
		lines = append(lines, fmt.Sprintf("softcap\t%g", softcap))
	}
	if alibi {
		lines = append(lines, "alibi\tyes")
	}
	if sinks {
		lines = append(lines, "sinks\tone logit a head in the softmax, without a value")
	}
	return lines
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

func onOff(v bool) string {
	if v {
		return "on"
	}
	return "off"
}
