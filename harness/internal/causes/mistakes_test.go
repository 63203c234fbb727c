package causes_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// Mistakes that no case tells apart are alternatives of the cause.
func TestAlternativesOfACause(t *testing.T) {
	results, read := withMistakes(t, []string{"scale-twice"},
		"samples/forward-batch-packed-no-mask", "samples/forward-batch-separate-no-mask")
	found := find(t, results, read)
	require.Len(t, found, 1)
	require.ElementsMatch(t, []string{"scale-twice", "scale-of-model"},
		append([]string{found[0].ID}, found[0].Alternatives...))
}

// A mistake in whole models is a cause beside passes of attention, which cannot show it.
func TestAMistakeInAModelBesidePassesOfAttention(t *testing.T) {
	inModel, ok := edits.ByID("gate-up-exchanged")
	require.True(t, ok)
	failure := failing("models/llama")
	failure.Diagnosis.Matches = []replay.Match{{Mistakes: []catalogue.Mistake{inModel}}}
	results, read := withMistakes(t, nil, "mha/unmasked", "sdpa/unmasked")
	read["models/llama"] = harnesstest.ReadCase(t, "models/llama")
	found := find(t, append(results, failure), read)
	require.Equal(t, []string{"gate-up-exchanged"}, causeIDs(found))
	require.Empty(t, found[0].Contradictions)
}

// causeIDs returns the ids of causes, in their order.
func causeIDs(found []report.Cause) []string {
	var ids []string
	for _, c := range found {
		ids = append(ids, c.ID)
	}
	return ids
}

// The match that explains the most failures is chosen, even if another one comes first.
func TestFewestCauses(t *testing.T) {
	for _, tc := range []struct {
		name    string
		results []report.Result
		want    []string
	}{
		{"the most common match", []report.Result{
			failing("a", "scale-missing", "causal-missing"),
			failing("b", "causal-missing"),
			failing("c", "causal-missing"),
		}, []string{"causal-missing"}},
		{"then the most common of the rest", []report.Result{
			failing("a", "scale-missing", "causal-missing"),
			failing("b", "causal-missing"),
			failing("c", "causal-missing"),
			failing("d", "scale-twice", "padding-ignored"),
			failing("e", "padding-ignored"),
		}, []string{"causal-missing", "padding-ignored"}},
		{"two mistakes where one does not do", []report.Result{
			failing("a", "causal-missing"),
			failing("b", "causal-missing+padding-ignored"),
		}, []string{"causal-missing", "padding-ignored"}},
		{"a pair whose parts are causes already needs no other", []report.Result{
			failing("a", "causal-missing"),
			failing("b", "padding-ignored"),
			failing("c", "scale-missing", "causal-missing+padding-ignored"),
		}, []string{"causal-missing", "padding-ignored"}},
		{"a match that explains most with the causes that are chosen already", []report.Result{
			failing("a", "causal-missing"), failing("b", "causal-missing"),
			failing("c", "padding-ignored"), failing("d", "padding-ignored"),
			failing("e", "causal-missing+padding-ignored"),
			failing("f", "causal-missing+scale-missing", "alibi-missing"),
			failing("g", "padding-ignored+scale-missing", "alibi-missing"),
		}, []string{"causal-missing", "padding-ignored", "scale-missing"}},
		{"the first of equals", []report.Result{
			failing("a", "scale-missing", "causal-missing"),
		}, []string{"scale-missing"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.want, causeIDs(find(t, tc.results, nil)))
		})
	}
}

// Among matches that explain as many failures, the one that the fewest passing cases contradict is
// chosen, even if another one comes first.
func TestLeastContradictedCause(t *testing.T) {
	const both, causalOnly, neither = "mha/causal-left-padding", "mha/causal", "mha/unmasked"
	read := map[string]*fixture.Case{}
	for _, name := range []string{both, causalOnly, neither} {
		read[name] = harnesstest.ReadCase(t, name)
	}
	for _, tc := range []struct {
		passes []string
		want   string
	}{
		{[]string{both, causalOnly, neither}, "padding-ignored"}, // 1 case against 2
		{[]string{both, neither}, "causal-missing"},              // 1 against 1: the first
	} {
		results := []report.Result{failing("a", "causal-missing", "padding-ignored")}
		for _, name := range tc.passes {
			results = append(results, passing(name))
		}
		found := find(t, results, read)
		require.Equal(t, []string{tc.want}, causeIDs(found))
		require.Empty(t, results[0].RuledOut, "both are contradicted")
		require.Equal(t, []string{both}, found[0].Contradictions)
		require.Equal(t, len(tc.passes), found[0].Passes)
		require.Equal(t, tc.want, results[0].Diagnosis.Matches[0].ID(), "the cause is the first match")
	}
}

// A match that is ruled out explains nothing, even if it explains another failure.
func TestRuledOutMatchesExplainNothing(t *testing.T) {
	results := []report.Result{
		failing("a", "causal-missing", "padding-ignored"),
		failing("b", "causal-missing"),
		passing("mha/causal"),
	}
	found := find(t, results, map[string]*fixture.Case{"mha/causal": harnesstest.ReadCase(t, "mha/causal")})
	ruledOut := []report.RuledOut{{ID: "causal-missing", By: "mha/causal"}}
	require.Equal(t, ruledOut, results[0].RuledOut)
	require.Empty(t, results[1].RuledOut, "nothing else explains it")
	require.Equal(t, []string{"padding-ignored", "causal-missing"}, causeIDs(found))
	require.Equal(t, []string{"a"}, found[0].Failures)
	require.Equal(t, ruledOut, found[0].RuledOut)
	require.Equal(t, []string{"b"}, found[1].Failures)
	require.Equal(t, []string{"mha/causal"}, found[1].Contradictions)
	require.Equal(t, []string{"padding-ignored", "causal-missing"}, idsOf(results[0]))
}

// A mistake is an alternative of a cause if it explains as many failures in its place, and no more
// passing cases contradict it.
func TestAlternativesExplainAsMuch(t *testing.T) {
	found := find(t, []report.Result{
		failing("a", "causal-missing", "scale-missing", "padding-ignored"),
		failing("b", "causal-missing", "padding-ignored"),
	}, nil)
	require.Equal(t, []string{"causal-missing"}, causeIDs(found))
	require.Equal(t, []string{"padding-ignored"}, found[0].Alternatives)

	read := map[string]*fixture.Case{}
	results := []report.Result{failing("a", "padding-ignored", "causal-missing")}
	for _, name := range []string{"mha/causal-left-padding", "mha/causal"} {
		read[name] = harnesstest.ReadCase(t, name)
		results = append(results, passing(name))
	}
	found = find(t, results, read)
	require.Equal(t, []string{"padding-ignored"}, causeIDs(found))
	require.Empty(t, found[0].Alternatives, "two passing cases contradict the other")
}

// Causes are listed by the number of failures that they explain.
func TestCausesByFailures(t *testing.T) {
	found := find(t, []report.Result{
		failing("a", "causal-missing+padding-ignored"),
		failing("b", "padding-ignored"),
		failing("c", "padding-ignored"),
	}, nil)
	require.Equal(t, []string{"padding-ignored", "causal-missing"}, causeIDs(found))
	require.Equal(t, []string{"a", "b", "c"}, found[0].Failures)
	require.Equal(t, []string{"a"}, found[1].Failures)
}
