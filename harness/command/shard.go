package command

import (
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/difftest/difftest/harness/internal/bazel"
	"github.com/difftest/difftest/harness/internal/blob"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/shard"
)

// shardFlag names the shard that a command runs. Without the flag, Bazel may name one.
type shardFlag struct {
	text  string
	added bool // the command has the flag
}

func (s *shardFlag) add(cmd *cobra.Command) {
	s.added = true
	cmd.Flags().StringVar(&s.text, "shard", "",
		"run the `I/N`-th part of the selected cases, such as 2/3; difftest merge joins all parts")
}

// read returns the shard, and what Bazel asks besides.
func (s *shardFlag) read() (shard.Shard, bazel.Test, error) {
	if !s.added {
		return shard.Shard{}, bazel.Test{}, nil
	}
	test, err := bazel.Read(os.LookupEnv)
	if err == nil {
		err = test.Acknowledge()
	}
	if err != nil {
		return shard.Shard{}, test, exit(exitUsage, "%w", err)
	}
	if s.text == "" {
		return test.Shard, test, nil
	}
	part, err := shard.Parse(s.text)
	if err != nil {
		return part, test, exit(exitUsage, "--shard: %w", err)
	}
	return part, test, nil
}

// neutral are the flags that change neither a verdict nor a word of a report.
var neutral = []string{
	"color", "help", "jobs", "json", "keep", "known", "no-duration", "quiet", "report", "shard", "slowest", "verbose",
}

// givenFlags returns the flags of a command line that change results, and the command behind --.
func givenFlags(cmd *cobra.Command) []string {
	var all []string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if slices.Contains(neutral, f.Name) {
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			for _, value := range list.GetSlice() {
				all = append(all, "--"+f.Name+" "+shellWord(value))
			}
			return
		}
		all = append(all, "--"+f.Name+" "+shellWord(f.Value.String()))
	})
	return all
}

// blobOf returns the format of a file that keeps a shard.
func blobOf(run blob.Run, part shard.Shard) report.Format {
	return func(w io.Writer, r *report.Report) error { return blob.New(run, part, r).Write(w) }
}
