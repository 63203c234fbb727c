package causes_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/causes"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

func TestARightSubjectHasNoCauses(t *testing.T) {
	r, err := check.Check(t.Context(), fixtures.FS, harnesstest.BuiltIn(), "mha/causal", "seed/causal")
	require.NoError(t, err)
	require.Empty(t, r.Causes)
}

// find returns the causes of results, and replaces the results by the ordered ones.
func find(t *testing.T, results []report.Result, read map[string]*fixture.Case) []report.Cause {
	t.Helper()
	found := causes.Find(t.Context(), results, causes.Of(read), "")
	copy(results, found.Results)
	return found.Causes
}

// withMistakes returns the results of a subject that makes some mistakes on every case where they
// can be made, and computes everything else exactly.
func withMistakes(
	t *testing.T, ids []string, cases ...string,
) (results []report.Result, read map[string]*fixture.Case) {
	t.Helper()
	read = map[string]*fixture.Case{}
	for _, name := range cases {
		c := harnesstest.ReadCase(t, name)
		read[name] = c
		got := c.Truth
		var made []catalogue.Mistake
		for _, id := range ids {
			m, ok := catalogue.ByID(id)
			require.True(t, ok, id)
			if out, ok := judge.Planted(c, oracle.Precision{}, append(made[:len(made):len(made)], m)...); ok {
				made, got = append(made, m), out.Value
			}
		}
		r, err := judge.Outputs(t.Context(), c, subject.Float32, &oracle.Array{Shape: c.Output.Shape, Value: got}, nil)
		require.NoError(t, err)
		results = append(results, r)
	}
	return results, read
}

func named(results []report.Result, which func(report.Result) bool) []string {
	var names []string
	for _, r := range results {
		if which(r) {
			names = append(names, r.Case)
		}
	}
	return names
}

// A subject with one mistake has one cause. It explains every failure, and no passing case
// contradicts it.
func TestOneMistakeOverTheSuiteIsOneCause(t *testing.T) {
	campaign.SkipShort(t)
	names := harnesstest.AttentionCases(t)
	ids := []string{"alibi-missing-at-decode", "sinks-missing", "window-missing"}
	if campaign.Full() {
		ids = append(ids, "padding-ignored", "rope-key-only", "kv-heads-tiled")
	}
	for _, id := range ids {
		t.Run(id, func(t *testing.T) {
			results, read := withMistakes(t, []string{id}, names...)
			found := find(t, results, read)
			require.Len(t, found, 1)
			require.Equal(t, id, found[0].ID)
			require.Equal(t, named(results, report.Result.Wrong), found[0].Failures)
			require.NotEmpty(t, found[0].Failures)
			require.Empty(t, found[0].Contradictions)
			require.Equal(t, len(names)-len(found[0].Failures), found[0].Passes)
			for _, r := range results {
				if r.Wrong() {
					require.Equal(t, id, r.Diagnosis.Matches[0].ID(), r.Case)
				}
			}
		})
	}
}

// Two mistakes at once are two causes. Some cases can show only one of them, and some both.
func TestTwoMistakesAreTwoCauses(t *testing.T) {
	campaign.SkipShort(t)
	results, read := withMistakes(t, []string{"causal-missing", "padding-ignored"},
		"mha/causal", "mha/padding", "mha/causal-left-padding", "mha/unmasked", "sdpa/causal", "seed/unmasked")
	found := find(t, results, read)
	require.Len(t, found, 2)
	require.Equal(t, "causal-missing", found[0].ID)
	require.Equal(t, []string{"mha/causal", "mha/causal-left-padding", "sdpa/causal"}, found[0].Failures)
	require.Equal(t, "padding-ignored", found[1].ID)
	require.Equal(t, []string{"mha/padding", "mha/causal-left-padding"}, found[1].Failures)
	for _, c := range found {
		require.Empty(t, c.Contradictions)
		require.Equal(t, 2, c.Passes)
	}
}

// A layer that rotates wrongly has causes about rotation alone, and cases without rotation pass.
func TestCauseOfALayerThatRotatesWrongly(t *testing.T) {
	s := harnesstest.BuiltIn()
	s.MHA = func(c attention.Config) (subject.Module, error) {
		if c.RoPE != nil {
			rope := *c.RoPE
			rope.Style = attention.Interleaved + attention.HalfSplit - rope.Style
			c.RoPE = &rope
		}
		return attention.New(c)
	}
	r, err := check.Check(t.Context(), fixtures.FS, s, "decoder/rope-half", "decoder/rope-interleaved",
		"decoder/nope", "decoder/alibi", "mha/causal", "mha/padding", "sdpa/causal")
	require.NoError(t, err)
	wrong := []string{"decoder/rope-half", "decoder/rope-interleaved"}
	require.Equal(t, wrong, named(r.Results, report.Result.Wrong))
	require.Len(t, r.Causes, 1)
	require.Equal(t, "rope-other-style", r.Causes[0].ID)
	require.Equal(t, wrong, r.Causes[0].Failures)
	require.Empty(t, r.Causes[0].Contradictions)
	require.Equal(t, 5, r.Causes[0].Passes)
}

// Every failure of a layer without masks has one of two causes, or both. No passing case
// contradicts either cause.
func TestCausesOfALayerWithoutMasks(t *testing.T) {
	campaign.SkipShort(t)
	s := subject.Subject{Name: "maskless", MHA: func(c attention.Config) (subject.Module, error) {
		c.Bidirectional = true
		m, err := attention.New(c)
		return unpadded{m}, err
	}}
	r, err := check.Check(t.Context(), fixtures.FS, s, "mha/causal", "mha/padding", "mha/causal-left-padding",
		"mha/unmasked", "seed/causal", "seed/unmasked")
	require.NoError(t, err)
	require.Len(t, r.Causes, 2)
	causal, padding := r.Causes[0], r.Causes[1]
	if causal.ID != "causal-missing" {
		causal, padding = padding, causal
	}
	require.Equal(t, "causal-missing", causal.ID)
	require.Equal(t, []string{"mha/causal", "mha/causal-left-padding", "seed/causal"}, causal.Failures)
	require.Equal(t, "padding-ignored", padding.ID)
	require.Equal(t, []string{"mha/padding", "mha/causal-left-padding"}, padding.Failures)
	require.Empty(t, causal.Contradictions)
	require.Empty(t, padding.Contradictions)

	var text strings.Builder
	require.NoError(t, report.Text(report.TextOptions{})(&text, r))
	require.Contains(t, text.String(),
		"CAUSE causal-missing explains 3 of 4 failures and none of the 2 passes\n      contradicts it\n"+
			"  what      the causal mask missing\n"+
			"  failures  mha/causal, mha/causal-left-padding, seed/causal\n")
}

// unpadded is a layer that ignores the padding.
type unpadded struct{ *attention.MultiHead }

func (u unpadded) Forward(in attention.Inputs) (attention.Outputs, error) {
	in.Padding = nil
	return u.MultiHead.Forward(in)
}

// failing returns the result of a case that fails, with a match for each list of ids.
func failing(name string, matches ...string) report.Result {
	r := judged(name, 5)
	r.Verdict = report.Fail
	for _, ids := range matches {
		var match replay.Match
		for id := range strings.SplitSeq(ids, "+") {
			m, ok := catalogue.ByID(id)
			if !ok {
				panic(id)
			}
			match.Mistakes = append(match.Mistakes, m)
		}
		r.Diagnosis.Matches = append(r.Diagnosis.Matches, match)
	}
	return r
}

// passing returns the result of a case that passes.
func passing(name string) report.Result {
	r := judged(name, 0)
	r.Verdict = report.Pass
	return r
}

// judged returns the result of a case with one output, so many sigma from the truth, in thousands.
func judged(name string, off float64) report.Result {
	truth := compare.Expected{Shape: []int{1}, Value: []float64{0}, Sigma: []float64{1e-3}}
	return report.Result{Case: name, Comparison: compare.Outputs(truth.Shape, []float64{off}, truth)}
}

// Find returns new results: the given ones keep their matches, in their order, and nothing is ruled
// out in them.
func TestFindLeavesItsInput(t *testing.T) {
	const sample = "samples/forward-batch-packed-no-mask"
	results, read := withMistakes(t, []string{"scale-twice"}, sample, "seed/unmasked")
	before := idsOf(results[0])
	require.Equal(t, []string{"scale-of-model", "scale-twice"}, before)

	ordered := causes.Find(t.Context(), results, causes.Of(read), "").Results
	require.Equal(t, []string{"scale-twice", "scale-of-model"}, idsOf(ordered[0]))
	require.NotEmpty(t, ordered[0].RuledOut)
	require.Equal(t, before, idsOf(results[0]))
	require.Empty(t, results[0].RuledOut)
}

// idsOf returns the ids of the matches of a result, in their order.
func idsOf(r report.Result) []string {
	var ids []string
	for _, m := range r.Diagnosis.Matches {
		ids = append(ids, m.ID())
	}
	return ids
}
