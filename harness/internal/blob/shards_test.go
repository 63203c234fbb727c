package blob_test

import (
	"bytes"
	"context"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/blob"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/shard"
	"github.com/difftest/difftest/harness/internal/subject"
)

// runFunc judges the named cases.
type runFunc func(ctx context.Context, cases ...string) (*report.Report, error)

// live is the run of a subject.
func live(s subject.Runner) runFunc {
	return func(ctx context.Context, cases ...string) (*report.Report, error) {
		return check.Check(ctx, fixtures.FS, s, cases...)
	}
}

// outputsOf is a run on files. output gives the values of each case; nil if it has no file.
func outputsOf(t *testing.T, cases []string, output func(c *fixture.Case) []float64) runFunc {
	t.Helper()
	files := fstest.MapFS{}
	for _, name := range cases {
		c := harnesstest.ReadCase(t, name)
		values := output(c)
		if values == nil {
			continue
		}
		tensor, err := attention.FromFloat64(c.Output.Shape, values)
		require.NoError(t, err)
		files[path.Join(name, "output.npy")] = &fstest.MapFile{Data: harnesstest.NPY(tensor)}
	}
	return func(ctx context.Context, cases ...string) (*report.Report, error) {
		return check.Folder(ctx, fixtures.FS, files, "", cases...)
	}
}

// making returns the output of a case with mistakes, as far as the case has something to get wrong.
func making(ids ...string) func(*fixture.Case) []float64 {
	return func(c *fixture.Case) []float64 {
		if c.Op == fixture.Module {
			return nil
		}
		var made []catalogue.Mistake
		got := c.Truth
		for _, id := range ids {
			m, _ := catalogue.ByID(id)
			if out, ok := judge.Planted(c, oracle.Precision{}, append(made[:len(made):len(made)], m)...); ok {
				made, got = append(made, m), out.Value
			}
		}
		return got
	}
}

// withNumber returns the output of a case with another value of a number, if it has the number.
func withNumber(id string, change func(float64) float64) func(*fixture.Case) []float64 {
	return func(c *fixture.Case) []float64 {
		n, _ := catalogue.NumberByID(id)
		if c.Op == fixture.Module {
			return nil
		}
		out, ok := judge.WithNumber(c, oracle.Precision{}, n, func(v float64) (float64, bool) {
			return change(v), true
		})
		if !ok {
			return c.Truth
		}
		return out.Value
	}
}

// merge runs each shard by itself, keeps it in a file, reads the file and joins all.
func merge(t *testing.T, count int, cases []string, run runFunc) *report.Report {
	t.Helper()
	return joined(t, count, cases, func(own []string) *report.Report {
		r, err := run(t.Context(), own...)
		require.NotNil(t, r, "%v", err)
		return r
	})
}

// joined keeps the report of each shard in a file, reads the file and joins all.
func joined(t *testing.T, count int, cases []string, of func(own []string) *report.Report) *report.Report {
	t.Helper()
	var files []blob.File
	for i := range count {
		part := shard.Shard{Index: i + 1, Count: count}
		r := &report.Report{Observed: &report.Observed{}}
		if own := part.Cases(cases); len(own) > 0 {
			r = of(own)
		}
		var file bytes.Buffer
		require.NoError(t, blob.New(blob.Run{Cases: cases}, part, r).Write(&file))
		b, err := blob.Read(&file)
		require.NoError(t, err)
		files = append(files, blob.File{Name: part.String(), Blob: b})
	}
	whole, err := blob.Join(files)
	require.NoError(t, err)
	read := casesOf(t, cases)
	for _, f := range files {
		require.NoError(t, f.Fits(read))
	}
	r, err := check.Explain(t.Context(), cases, &whole.Observed, read)
	require.NotNil(t, r, "%v", err)
	r.Subject = whole.Subject
	return r
}

// partOf returns what a run observed of some of its cases, as a shard does.
func partOf(one *report.Report, own []string) *report.Report {
	other := func(r report.Result) bool { return !slices.Contains(own, r.Case) }
	saw, part := *one.Observed, *one
	saw.Judged = slices.DeleteFunc(slices.Clone(saw.Judged), other)
	saw.Probed = slices.DeleteFunc(slices.Clone(saw.Probed), other)
	part.Results = slices.DeleteFunc(slices.Clone(one.Results), other)
	part.Observed = &saw
	return &part
}

func casesOf(t *testing.T, names []string) map[string]*fixture.Case {
	t.Helper()
	read := map[string]*fixture.Case{}
	for _, name := range names {
		read[name] = harnesstest.ReadCase(t, name)
	}
	return read
}

// formats are all reports.
var formats = map[string]report.Format{
	"json": report.JSON, "html": report.HTML, "junit": report.JUnit, "markdown": report.Markdown,
	"github": report.GitHub, "summary": report.StepSummary,
	"text":       report.Text(report.TextOptions{}),
	"everything": report.Text(report.TextOptions{Verbosity: report.Everything}),
}

// written returns a report in a format, without times.
func written(t *testing.T, format report.Format, r *report.Report) string {
	t.Helper()
	out := *r
	out.Results = append([]report.Result(nil), r.Results...)
	for i := range out.Results {
		out.Results[i].Took = 0
	}
	var b strings.Builder
	require.NoError(t, format(&b, &out))
	return b.String()
}

// some are cases with failures of one kind in each of three shards.
var some = []string{
	"decoder/nope", "decoder/rope-half", "decoder/rope-interleaved", "mha/causal", "mha/causal-left-padding",
	"mha/cross", "mha/padding", "mha/unmasked", "sdpa/causal", "sdpa/unmasked", "seed/causal", "seed/unmasked",
}

// neverLoaded shows that its load has no effect only if it runs again.
var neverLoaded = harnesstest.Unreadable(harnesstest.NeverLoaded())

// Shards that are run by themselves and joined give every report of one run.
func TestShardsGiveTheReportsOfOneRun(t *testing.T) {
	run := live(harnesstest.Unmasked())
	one, err := run(t.Context(), some...)
	require.NoError(t, err)
	same(t, one, merge(t, 3, some, run))
}

// same fails unless two reports are equal in every format, and in the lines that a run writes while
// it goes on.
func same(t *testing.T, one, merged *report.Report) {
	t.Helper()
	for name, format := range formats {
		require.Equal(t, written(t, format, one), written(t, format, merged), name)
	}
	require.Equal(t, linesOf(t, one.Observed.Judged), linesOf(t, merged.Observed.Judged))
}

// linesOf returns the lines of results, as a run writes them.
func linesOf(t *testing.T, results []report.Result) string {
	t.Helper()
	var b strings.Builder
	p := report.NewPrinter(&b, report.TextOptions{})
	require.NoError(t, p.Begin(&report.Report{}, make([]string, len(results))))
	for _, r := range results {
		require.NoError(t, p.Case(r))
	}
	return b.String()
}

// Whatever a run finds, its shards give the same reports.
func TestShardsAreExplainedTogether(t *testing.T) {
	folder := func(output func(*fixture.Case) []float64) runFunc { return outputsOf(t, some, output) }
	tenfold := func(v float64) float64 { return 10 * v }
	for _, tc := range []struct {
		name  string
		run   runFunc
		cases []string
	}{
		{"right", live(harnesstest.BuiltIn()), some},
		{"never loaded", live(neverLoaded), []string{"seed/causal", "seed/unmasked"}},
		{"two mistakes", folder(making("causal-missing", "padding-ignored")), some[3:7]},
		{"a number", folder(withNumber("rope-base", tenfold)), some[:3]},
		{"rounded", folder(making("weights-bfloat16")), some[3:6]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			one, err := tc.run(t.Context(), tc.cases...)
			require.NotNil(t, one, "%v", err)
			// A line is written before the subject runs again, which may show more.
			older := linesOf(t, one.Observed.Judged) != linesOf(t, one.Observed.Probed)
			require.Equal(t, tc.name == "never loaded", older)
			for _, count := range []int{1, 3, 20} {
				same(t, one, joined(t, count, tc.cases, func(own []string) *report.Report { return partOf(one, own) }))
			}
		})
	}
}

// A head that nobody wrote is a cause if several cases show it. Each shard has one such case.
func TestACauseInSeveralShards(t *testing.T) {
	cases := []string{"sdpa/gqa", "sdpa/unmasked"}
	require.NotEqual(t, shard.Of(cases[0], 3), shard.Of(cases[1], 3))
	run := outputsOf(t, cases, func(c *fixture.Case) []float64 {
		out := slices.Clone(c.Truth)
		head := c.Output.Shape[2] * c.Output.Shape[3]
		for first := head; first < len(out); first += head * c.Output.Shape[1] {
			clear(out[first:][:head])
		}
		return out
	})
	var causes []report.Cause
	merged := joined(t, 3, cases, func(own []string) *report.Report {
		r, err := run(t.Context(), own...)
		require.NoError(t, err)
		causes = append(causes, r.Causes...)
		return r
	})
	require.Empty(t, causes)
	require.Len(t, merged.Causes, 1)
	require.Equal(t, "heads-not-written", merged.Causes[0].ID)
	require.Equal(t, cases, merged.Causes[0].Failures)
}

// A case of one shard rules out an explanation of failures in another.
func TestAnotherShardRulesOutAnExplanation(t *testing.T) {
	cases := []string{"decoder/nope", "mha/cross", "seed/unmasked"}
	require.Equal(t, []int{3, 2, 2}, []int{shard.Of(cases[0], 3), shard.Of(cases[1], 3), shard.Of(cases[2], 3)})
	run := outputsOf(t, cases, making("weights-transposed"))
	merged := joined(t, 3, cases, func(own []string) *report.Report {
		r, err := run(t.Context(), own...)
		require.NoError(t, err)
		for _, result := range r.Results {
			require.Empty(t, result.RuledOut)
		}
		return r
	})
	require.Equal(t, []report.RuledOut{{ID: "weights-column-major", By: "decoder/nope"}}, merged.Results[1].RuledOut)
	require.Len(t, merged.Causes, 1)
	require.Empty(t, merged.Causes[0].Alternatives)
}

// The same for every fortieth mistake of the catalogue.
func TestShardsOfMistakes(t *testing.T) {
	if !campaign.Full() {
		t.Skip("takes minutes")
	}
	names := harnesstest.AttentionCases(t)
	for i := 0; i < len(catalogue.Mistakes); i += 40 {
		m := catalogue.Mistakes[i]
		t.Run(m.ID, func(t *testing.T) {
			one, err := outputsOf(t, names, making(m.ID))(t.Context(), names...)
			require.NotNil(t, one, "%v", err)
			same(t, one, joined(t, 3, names, func(own []string) *report.Report { return partOf(one, own) }))
		})
	}
}
