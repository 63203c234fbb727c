package blob_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/blob"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/shard"
)

// four are cases of all three shards: 1, 2, 1, 3.
var four = []string{"mha/causal", "mha/cross", "sdpa/causal", "seed/causal"}

// shardsOf returns three shards of a run, as they are written to files.
func shardsOf(t *testing.T) []string {
	t.Helper()
	one, err := live(harnesstest.Unmasked())(t.Context(), four...)
	require.NoError(t, err)
	one.Subject, one.Tool, one.SuiteHash = "mine", "difftest v1", "00"
	var texts []string
	for i := range 3 {
		part := shard.Shard{Index: i + 1, Count: 3}
		var file strings.Builder
		run := blob.Run{About: "mine", Cases: four}
		require.NoError(t, blob.New(run, part, partOf(one, part.Cases(four))).Write(&file))
		texts = append(texts, file.String())
	}
	return texts
}

// joinTexts reads blobs, joins them and holds them against the cases.
func joinTexts(t *testing.T, texts ...string) error {
	t.Helper()
	var files []blob.File
	for i, text := range texts {
		b, err := blob.Read(strings.NewReader(text))
		if err != nil {
			return fmt.Errorf("%d.blob: %w", i+1, err)
		}
		files = append(files, blob.File{Name: fmt.Sprintf("%d.blob", i+1), Blob: b})
	}
	if _, err := blob.Join(files); err != nil {
		return err
	}
	read := casesOf(t, four)
	for _, f := range files {
		if err := f.Fits(read); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

// A shard that is missing, there twice, or of another run is refused, with one clear error.
func TestJoinRefuses(t *testing.T) {
	shards := shardsOf(t)
	require.NoError(t, joinTexts(t, shards...))
	require.NoError(t, joinTexts(t, shards[2], shards[0], shards[1]), "in any order")
	with := func(i int, old, new string) []string {
		other := slices.Clone(shards)
		require.Contains(t, other[i], old)
		other[i] = strings.Replace(other[i], old, new, 1)
		return other
	}
	for _, tc := range []struct {
		name  string
		texts []string
		want  string
	}{
		{"none", nil, "no blob"},
		{"one is missing", shards[:2], "shard 3/3 is missing"},
		{"two are missing", shards[1:2], "shard 1/3, 3/3 is missing"},
		{"one twice", append(slices.Clone(shards), shards[1]), "4.blob: shard 2/3 is there twice: 2.blob is it, too"},
		{
			"of four", with(1, `"Count":3`, `"Count":4`),
			`2.blob: a shard of another run, with another number of shards: "4", and "3" in 1.blob`,
		},
		{"another suite", with(1, `"SuiteHash":"00"`, `"SuiteHash":"01"`), `on another suite: "01", and "00" in 1.blob`},
		{"another subject", with(2, `"About":"mine"`, `"About":"yours"`), `of another subject: "yours", and "mine" in 1.blob`},
		{"another name", with(2, `"Subject":"mine"`, `"Subject":"yours"`), `of another subject: "yours"`},
		{"another tool", with(1, `difftest v1`, `difftest v2`), `by another version of difftest: "difftest v2"`},
		{"other flags", with(2, `"Flags":null`, `"Flags":["--once true"]`), `with other flags: "--once true", and ""`},
		{"another list", with(2, `"Known":""`, `"Known":"a/b # c"`), `with another list of expected failures: "a/b # c"`},
		{"other cases", with(1, `"mha/causal",`, ``), `with other cases: "mha/cross sdpa/causal seed/causal"`},
		{"another precision", with(1, `"Precision":""`, `"Precision":"bfloat16"`), `with another declared precision: "bfloat16"`},
		{
			"no results", with(1, `"Failure":null`, `"Failure":{"status":2,"message":"no such file"}`),
			"2.blob: shard 2/3 has no results: no such file",
		},
	} {
		require.ErrorContains(t, joinTexts(t, tc.texts...), tc.want, tc.name)
	}
}

// A shard whose run ended early is not taken for a whole one.
func TestJoinRefusesAShardThatEndedEarly(t *testing.T) {
	shards := shardsOf(t)
	lines := strings.SplitAfter(shards[0], "\n")
	shards[0] = strings.Replace(lines[0], `"Results":2`, `"Results":1`, 1) + lines[1]
	require.EqualError(t, joinTexts(t, shards...), "1.blob: shard 1/3 ended early, after 1 of 2 cases")
}

// A shard without cases has not met the subject, and joins any.
func TestShardsWithoutCases(t *testing.T) {
	r := &report.Report{Subject: "mine", Observed: &report.Observed{}}
	var files []blob.File
	for i := range 2 {
		var file bytes.Buffer
		require.NoError(t, blob.New(blob.Run{}, shard.Shard{Index: i + 1, Count: 2}, r).Write(&file))
		b, err := blob.Read(&file)
		require.NoError(t, err)
		files = append(files, blob.File{Name: "a", Blob: b})
	}
	whole, err := blob.Join(files)
	require.NoError(t, err)
	merged, err := check.Explain(t.Context(), nil, &whole.Observed, nil)
	require.NoError(t, err)
	require.Zero(t, merged.Selected)
}

// A file that no run wrote is refused, and the error says where it is wrong.
func TestReadRefuses(t *testing.T) {
	text := shardsOf(t)[0] // mha/causal fails, sdpa/causal is skipped
	for _, tc := range []struct{ name, old, new, want string }{
		{"a later version", `"Version":1`, `"Version":2`, "line 1: Version: 2, want 1"},
		{"no version", `"Version":1,`, ``, "line 1: Version: 0, want 1"},
		{"another layout", `"Layout":"`, `"Layout":"x`, "another version of difftest wrote it"},
		{"no JSON", `{`, `[`, "line 1: "},
		{"an unknown field", `"Replies"`, `"Other":1,"Replies"`, "line 1: Other: unknown field"},
		{"a field twice", `"Subject":"mine"`, `"Subject":"mine","Subject":"mine"`, "line 1: Subject: twice"},
		{"no shard", `"Index":1`, `"Index":4`, "4/3 is no shard"},
		{"a huge shard", `"Count":3`, `"Count":1000000000`, "is no shard"},
		{"unsorted cases", `"mha/causal","mha/cross"`, `"mha/cross","mha/causal"`, "Cases: not sorted"},
		{"a case twice", `"mha/causal","mha/cross"`, `"mha/causal","mha/causal"`, "Cases: not sorted"},
		{"more results", `"Results":2`, `"Results":3`, "line 1: Results: 3, but shard 1/3 has 2 cases"},
		{"negative results", `"Results":2`, `"Results":-1`, "line 1: Results: -1"},
		{"a result less", `"Results":2`, `"Results":1`, "line 3: more than the 1 results"},
		{"a wrong list", `"Known":""`, `"Known":"a cause=none"`, "line 1: Known: line 1"},
		{"two lines", `"mine"`, `"mi\nne"`, "more than one line"},
		{"a precision", `"Declared":""`, `"Declared":"float7"`, `"float7"`},
		{"an unknown mistake", `"ID":"causal-missing"`, `"ID":"causal-gone"`, `line 2: Result.Diagnosis.`},
		{"another title", `"Title":"the causal mask missing"`, `"Title":"bad luck"`, `is no known mistake`},
		{"no base64", `"Got":"`, `"Got":"*`, `line 2: Result.Got: no array of float64`},
		{"no number", `"Rel":`, `"Rel":"x","Gone":`, `line 2: Result.Comparison.Rel`},
	} {
		require.Contains(t, text, tc.old, tc.name)
		_, err := blob.Read(strings.NewReader(strings.Replace(text, tc.old, tc.new, 1)))
		require.ErrorContains(t, err, tc.want, tc.name)
	}
	_, err := blob.Read(strings.NewReader(text[:len(text)-1]))
	require.ErrorContains(t, err, "line 3: cut off")
	_, err = blob.Read(strings.NewReader(""))
	require.ErrorContains(t, err, "line 1: missing")
	_, err = blob.Read(strings.NewReader(text[:strings.Index(text, "\n")+1]))
	require.ErrorContains(t, err, "line 2: missing")
}

// Short objects may fill much memory, so a line holds a limited number.
func TestReadBoundsTheNumberOfObjects(t *testing.T) {
	text := shardsOf(t)[0]
	many := strings.Replace(text, `"Bands":[`, `"Bands":[`+strings.Repeat(`{},`, 1<<17), 1)
	require.NotEqual(t, text, many)
	_, err := blob.Read(strings.NewReader(many))
	require.ErrorContains(t, err, "line 2: more than 131072 objects")
}

// Text that moves a cursor is replaced, because reports print it.
func TestReadMakesTextSafe(t *testing.T) {
	text := shardsOf(t)[0]
	b, err := blob.Read(strings.NewReader(strings.Replace(text, `"Subject":"mine"`, `"Subject":"mi\u001b[2Jne"`, 1)))
	require.NoError(t, err)
	require.Equal(t, "mi\uFFFD[2Jne", b.Subject)
}

// Results that do not fit their cases are refused before a report trusts them.
func TestFitsRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(saw *report.Observed, failing *report.Result)
		want   string
	}{
		"the order":     {func(saw *report.Observed, _ *report.Result) { slices.Reverse(saw.Probed) }, "out of order"},
		"another case":  {func(_ *report.Observed, r *report.Result) { r.Case = "mha/cross" }, "mha/cross: no case of shard 1/3"},
		"the purpose":   {func(_ *report.Observed, r *report.Result) { r.Purpose = "x" }, "Purpose"},
		"a pass":        {func(_ *report.Observed, r *report.Result) { r.Verdict = report.Pass }, `Verdict: "pass"`},
		"known":         {func(_ *report.Observed, r *report.Result) { r.Verdict = report.Known }, `Verdict: "known"`},
		"an error":      {func(_ *report.Observed, r *report.Result) { r.Verdict = report.Error }, `Verdict: "error"`},
		"the shape":     {func(_ *report.Observed, r *report.Result) { r.Comparison.WantShape = []int{1} }, "Comparison: WantShape"},
		"the limits":    {func(_ *report.Observed, r *report.Result) { r.Comparison.Limits.Z = 1e9 }, "Comparison: Limits"},
		"the counts":    {func(_ *report.Observed, r *report.Result) { r.Comparison.Outside = 1 << 40 }, "Comparison: counts"},
		"a short z":     {func(_ *report.Observed, r *report.Result) { r.Comparison.Z = r.Comparison.Z[1:] }, "Comparison: Z"},
		"the worst":     {func(_ *report.Observed, r *report.Result) { r.Comparison.Worst.Index[0] = 99 }, "Comparison: Worst"},
		"the first":     {func(_ *report.Observed, r *report.Result) { r.Comparison.First[0].Index = nil }, "Comparison: First"},
		"the output":    {func(_ *report.Observed, r *report.Result) { r.Got = r.Got[1:] }, "Got: "},
		"the truth":     {func(_ *report.Observed, r *report.Result) { r.Want.Sigma = r.Want.Sigma[1:] }, "Want: "},
		"padded rows":   {func(_ *report.Observed, r *report.Result) { r.Want.Padded = []bool{true} }, "Want: Padded"},
		"PyTorch":       {func(_ *report.Observed, r *report.Result) { r.PyTorch.WantShape = nil }, "PyTorch"},
		"a mask":        {func(_ *report.Observed, r *report.Result) { r.Masks[0].Queries = -1 }, "Masks"},
		"the config":    {func(_ *report.Observed, r *report.Result) { r.Config = "causal\tno" }, "Config"},
		"a parameter":   {func(_ *report.Observed, r *report.Result) { r.Parameters[0].Key = "x" }, "Parameters"},
		"no parameters": {func(_ *report.Observed, r *report.Result) { r.Parameters = nil }, "Parameters"},
		"a class":       {func(_ *report.Observed, r *report.Result) { r.Diagnosis.Class = "bad" }, "Class"},
		"a stage":       {func(_ *report.Observed, r *report.Result) { r.Diagnosis.Stage = "bad" }, "Stage"},
		"rows":          {func(_ *report.Observed, r *report.Result) { r.Diagnosis.Structure.Rows++ }, "Structure"},
		"groups":        {func(_ *report.Observed, r *report.Result) { r.Diagnosis.Structure.Lead = []int{0} }, "Structure"},
		"no picture":    {func(_ *report.Observed, r *report.Result) { r.Diagnosis.Structure.Wrong = nil }, "Structure"},
		"a pattern":     {func(_ *report.Observed, r *report.Result) { r.Diagnosis.Pattern.Heads = 0 }, "Pattern"},
		"a shown head":  {func(_ *report.Observed, r *report.Result) { r.Diagnosis.Pattern.Shown = -1 }, "Pattern"},
		"three at once": {func(_ *report.Observed, r *report.Result) { r.Diagnosis.Matches[0].Mistakes = nil }, "Matches"},
		"many matches": {func(_ *report.Observed, r *report.Result) {
			r.Diagnosis.Matches = slices.Repeat(r.Diagnosis.Matches, 1001)
		}, "1001 findings of one kind"},
		"ruled out": {func(_ *report.Observed, r *report.Result) { r.RuledOut = []report.RuledOut{{}} }, "RuledOut"},
		"broken, too": {func(saw *report.Observed, _ *report.Result) {
			saw.Broken = []report.Broken{{Case: "mha/causal"}}
		}, "Broken: mha/causal"},
		"broken elsewhere": {func(saw *report.Observed, _ *report.Result) {
			saw.Broken = []report.Broken{{Case: "mha/cross"}}
		}, "Broken: mha/cross"},
		"in general": {func(saw *report.Observed, _ *report.Result) {
			saw.General = []report.Broken{{Case: "mha/cross"}}
		}, "General"},
		"the class that was heard": {func(saw *report.Observed, _ *report.Result) {
			saw.Judged[0].Diagnosis.Class = "bad"
		}, "Class"},
	} {
		t.Run(name, func(t *testing.T) {
			b := failing(t)
			require.NoError(t, b.Fits(casesOf(t, four)))
			tc.change(&b.Observed, &b.Observed.Probed[0])
			require.ErrorContains(t, b.Fits(casesOf(t, four)), tc.want)
		})
	}
}

// failing returns the first shard, read anew: mha/causal fails, and sdpa/causal is skipped.
func failing(t *testing.T) *blob.Blob {
	t.Helper()
	b, err := blob.Read(strings.NewReader(firstShard(t)))
	require.NoError(t, err)
	return b
}

var kept string

// firstShard returns the text of the first shard, which is made once.
func firstShard(t *testing.T) string {
	t.Helper()
	if kept == "" {
		kept = shardsOf(t)[0]
	}
	return kept
}
