package command

import (
	"io/fs"
	"slices"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/blob"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/checkpoint"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/known"
	"github.com/difftest/difftest/harness/internal/report"
)

func mergeCommand() *cobra.Command {
	var m merged
	cmd := &cobra.Command{
		Use:   "merge FILE.blob...",
		Short: "Join the shards of a run into one report",
		Long: `merge reads what all shards of one run found, and writes the report of the
whole run. The report is the same as without shards, but for times. Causes are
found again, over all failures. The exit status is the one of the whole run.

Each shard writes its file with --report blob=FILE. A shard that is missing,
that is there twice, or that belongs to another run is an error.`,
		Example: `  difftest --shard 1/2 --report blob=1.blob -- python mine.py
  difftest --shard 2/2 --report blob=2.blob -- python mine.py
  difftest merge 1.blob 2.blob --report html=report.html`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return m.run(cmd, args) },
		ValidArgsFunction: cobra.FixedCompletions(
			[]cobra.Completion{"blob"}, cobra.ShellCompDirectiveFilterFileExt),
	}
	m.suite.add(cmd)
	m.output.add(cmd)
	m.reports.add(cmd)
	return cmd
}

// merged holds the flags of merge.
type merged struct {
	suite   suiteFlag
	output  outputFlags
	reports reportFlags
}

func (m *merged) run(cmd *cobra.Command, files []string) error {
	ctx, follow := followed(cmd)
	out, err := m.output.open(cmd, follow)
	if err != nil {
		return err
	}
	written, err := m.reports.open()
	if err != nil {
		return err
	}
	s, whole, cases, err := m.read(files)
	if err != nil {
		return err
	}
	written, err = written.with("", blobOf(whole.Run, s.shard))
	if err != nil {
		return err
	}
	if out.known, err = known.Parse(whole.Known); err != nil {
		return exit(exitBroken, "%w", err)
	}
	if err := m.replay(out, s, whole); err != nil {
		return exit(exitBroken, "write the report: %w", err)
	}
	r, err := check.Explain(ctx, s.cases, &whole.Observed, cases)
	follow.pause()
	if r == nil {
		return interrupted(ctx, broken(err))
	}
	r.Subject, r.Tool, r.SuiteHash = whole.Subject, whole.Tool, whole.SuiteHash
	r, wrongList := known.Acknowledge(m.output.timed(r, whole.Took), out.known, s.all)
	err = finish(cmd.OutOrStdout(), written.also(out.end, cmd.ErrOrStderr()), r)
	if wrongList == nil || len(r.Broken) > 0 {
		return err
	}
	return exit(exitFailed, "the list of expected failures: %w", wrongList)
}

// read reads all shards, and the cases that have results.
func (m *merged) read(files []string) (selected, *blob.Blob, map[string]*fixture.Case, error) {
	none := func(err error) (selected, *blob.Blob, map[string]*fixture.Case, error) {
		return selected{}, nil, nil, err
	}
	suite, names, err := m.suite.cases()
	if err != nil {
		return none(err)
	}
	var shards []blob.File
	for _, file := range files {
		b, err := readBlob(file)
		if err != nil {
			return none(exit(exitBroken, "%s: %w", file, err))
		}
		shards = append(shards, blob.File{Name: file, Blob: b})
	}
	whole, err := blob.Join(shards)
	if err != nil {
		return none(exit(exitBroken, "%w", err))
	}
	if own := suiteHash(suite, names); whole.SuiteHash != own {
		return none(exit(exitBroken, "%s: of another suite: its hash is %.12s, and here %.12s%s",
			files[0], whole.SuiteHash, own, m.suite.hint()))
	}
	cases, err := readCases(suite, names, whole)
	if err != nil {
		return none(exit(exitBroken, "%w", err))
	}
	for _, s := range shards {
		if err := s.Fits(cases); err != nil {
			return none(exit(exitBroken, "%s: %w", s.Name, err))
		}
	}
	return selected{suite: suite, all: names, cases: whole.Cases, own: whole.Cases}, whole, cases, nil
}

// hint says how to name another suite, unless one is named.
func (s *suiteFlag) hint() string {
	if s.dir != "" {
		return ""
	}
	return "; --fixtures DIR names another"
}

func readBlob(file string) (*blob.Blob, error) {
	f, err := checkpoint.OpenRegular(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return blob.Read(f)
}

// readCases reads the cases that have results.
func readCases(suite fs.FS, names []string, whole *blob.Blob) (map[string]*fixture.Case, error) {
	if err := fixture.CheckNames(whole.Cases, names); err != nil {
		return nil, err
	}
	cases := map[string]*fixture.Case{}
	for _, r := range whole.Observed.Probed {
		c, err := fixture.Read(suite, r.Case)
		if err != nil {
			return nil, err
		}
		cases[r.Case] = c
	}
	return cases, nil
}

// replay writes the lines of all cases, as the shards wrote them.
func (m *merged) replay(out *live, s selected, whole *blob.Blob) error {
	if err := out.begin(about{whole.About, whole.Precision}, s); err != nil {
		return err
	}
	saw := whole.Observed
	for _, name := range s.cases {
		j := check.Judged{Result: report.Result{Case: name}}
		if i := slices.IndexFunc(saw.Judged, func(r report.Result) bool { return r.Case == name }); i >= 0 {
			j.Result = saw.Judged[i]
		} else {
			i := slices.IndexFunc(saw.Broken, func(b report.Broken) bool { return b.Case == name })
			j.Broken = saw.Broken[i].Err
		}
		if err := out.write(j); err != nil {
			return err
		}
	}
	return nil
}
