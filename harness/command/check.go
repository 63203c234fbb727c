package command

import (
	"context"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/checkpoint"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

func checkCommand() *cobra.Command {
	var flags judgeFlags
	var weights, modules, precision string
	cmd := &cobra.Command{
		Use:   "check DIR | CASE OUTPUT.npy",
		Short: "Judge outputs that were made elsewhere",
		Long: `check judges outputs that any program in any language saved as .npy files. The
verdict and the diagnosis are the same as for an implementation that difftest
runs. An output of bfloat16 is saved as its bits, in uint16.

DIR holds a folder for every case, with output.npy in it. If the case has
attention weights, weights.npy stands beside it. If it is a model, the folder
output may stand beside it, with the outputs of modules inside the model, such
as output/model.layers.0.mlp.npy. The report then tells the first wrong one:
see PROTOCOL.md. The files that difftest export
wrote may stay in DIR. Cases without an output are skipped; reply.json may give
the reason. Beside an output it may declare the precision, as in
{"type":"ok","precision":"bfloat16"}. Any other file in DIR is an error.

With CASE and OUTPUT.npy, attention weights are judged if --weights names them,
and modules inside a model if --trace names their folder.`,
		Example: `  difftest check DIR                      every output in the folder
  difftest check seed/causal output.npy   one output
  difftest check mine/llama output.npy --trace output/`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			declared, err := subject.ParsePrecision(precision)
			if err != nil {
				return exit(exitUsage, "--%w", err)
			}
			if len(args) == 1 {
				if weights != "" {
					return exit(exitUsage, "--weights: needs CASE OUTPUT.npy; "+
						"in a folder, weights.npy beside output.npy is judged")
				}
				if modules != "" {
					return exit(exitUsage, "--trace: needs CASE OUTPUT.npy; "+
						"in a folder, the folder output beside output.npy is judged")
				}
				return checkFolder(cmd, &flags, args[0], declared)
			}
			if flags.selection.given() || flags.last.on || flags.known.file != "" || flags.known.update {
				return exit(exitUsage, "--case, --skip, --last-failed and --known: only for a folder of outputs, not for %s", args[0])
			}
			return checkOne(cmd, &flags, oneOutput{
				pattern: args[0], file: args[1], weights: weights, modules: modules, precision: declared,
			})
		},
		ValidArgsFunction: flags.completeCheck,
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&weights, "weights", "", "`FILE`.npy with the attention weights of the one output")
	_ = cmd.MarkFlagFilename("weights", "npy")
	cmd.Flags().StringVar(&modules, "trace", "", "`DIR` with the outputs of modules inside the one model, as PATH.npy")
	_ = cmd.MarkFlagDirname("trace")
	addPrecision(cmd, &precision, "the arithmetic of the outputs")
	return cmd
}

// completeCheck completes the arguments of check: a case or a folder, then a file.
func (j *judgeFlags) completeCheck(
	cmd *cobra.Command, args []string, word string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return []cobra.Completion{"npy"}, cobra.ShellCompDirectiveFilterFileExt
	}
	names, directive := j.suite.complete(cmd, args, word)
	return names, directive &^ cobra.ShellCompDirectiveNoFileComp
}

// checkFolder judges every output in a folder. Links that lead out of the folder are not followed.
func checkFolder(cmd *cobra.Command, flags *judgeFlags, dir string, declared subject.Precision) error {
	root, err := openFolder(dir)
	if err != nil {
		return exit(exitUsage, "%w; to check one output: difftest check CASE OUTPUT.npy", err)
	}
	defer root.Close()
	who := about{subject: dir, precision: string(declared)}
	return flags.judge(cmd, who, func(ctx context.Context, suite fs.FS, cases []string) (*report.Report, error) {
		r, err := check.Folder(ctx, suite, root.FS(), declared, cases...)
		if r != nil {
			r.Subject = dir
		}
		return r, err
	}, func(name string) string {
		return "difftest check " + shellWord(dir) + " --case " + shellWord(name) + flags.suite.flag() +
			precisionFlag(declared)
	})
}

// oneOutput names an output to judge, and its case. weights is a file and modules a folder; both
// may be empty.
type oneOutput struct {
	pattern, file, weights, modules string
	precision                       subject.Precision
}

// inside returns the folder with the outputs of modules, nil if there is none.
func (o oneOutput) inside() (fs.FS, error) {
	if o.modules == "" {
		return nil, nil
	}
	if info, err := os.Stat(o.modules); err != nil || !info.IsDir() {
		return nil, exit(exitUsage, "--trace: %s is no folder", o.modules)
	}
	return os.DirFS(o.modules), nil
}

func checkOne(cmd *cobra.Command, flags *judgeFlags, one oneOutput) error {
	format, err := flags.output.format(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	if flags.reports.hasBlob() {
		return exit(exitUsage, "--report %s: only for a run of cases, not for one output", blobFormat)
	}
	files, err := flags.reports.open()
	if err != nil {
		return err
	}
	format = files.also(format, cmd.ErrOrStderr())
	c, err := flags.suite.read(one.pattern)
	if err != nil {
		return err
	}
	a, got, err := readOutput(one.file, c.Output.Shape)
	if err != nil {
		return err
	}
	suite, err := flags.suite.open()
	if err != nil {
		return err
	}
	inside, err := one.inside()
	if err != nil {
		return err
	}
	ctx, follow := followed(cmd)
	result, err := check.Output(ctx, suite, c, one.precision, oracle.Array{Shape: a.Shape, Value: got}, inside)
	follow.pause()
	if err != nil {
		return interrupted(ctx, exit(exitBroken, "%w", err))
	}
	result.Rerun = "difftest check " + shellWord(c.Name) + " " + shellWord(one.file) + flags.suite.flag() +
		precisionFlag(one.precision)
	if one.weights != "" {
		if err := checkWeights(&result, c, one); err != nil {
			return err
		}
		result.Rerun += " --weights " + shellWord(one.weights)
	}
	if one.modules != "" {
		result.Rerun += " --trace " + shellWord(one.modules)
	}
	return interrupted(ctx, finish(cmd.OutOrStdout(), format, &report.Report{
		Subject:   one.file,
		Precision: string(one.precision),
		Suite:     c.Provenance.Source(),
		Results:   []report.Result{result},
	}))
}

// checkWeights judges attention weights and adds the problems to result.
func checkWeights(result *report.Result, c *fixture.Case, one oneOutput) error {
	if c.Weights == nil {
		return exit(exitUsage, "--weights: %s has no attention weights to compare with", c.Name)
	}
	a, got, err := readOutput(one.weights, c.Weights.Shape)
	if err != nil {
		return err
	}
	findings, err := judge.Weights(c, judge.Arithmetic(one.precision), a.Shape, got)
	if err != nil {
		return exit(exitBroken, "%w", err)
	}
	if len(findings) > 0 {
		result.Findings, result.Verdict = findings, report.Fail
	}
	return nil
}

// readOutput reads a .npy file of floating-point numbers. An array of uint16 holds the bits of
// bfloat16.
func readOutput(file string, want []int) (*npy.Array, []float64, error) {
	f, err := checkpoint.OpenRegular(file)
	if err != nil {
		return nil, nil, exit(exitBroken, "%w", err)
	}
	defer f.Close()
	a, values, err := fixture.ReadOutput(f, want)
	if err != nil {
		return nil, nil, exit(exitBroken, "%s: %w", file, err)
	}
	return a, values, nil
}
