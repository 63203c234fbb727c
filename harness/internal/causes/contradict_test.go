package causes_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Another case can rule out a match: by failing in another way, or by passing.
func TestCasesRuleOutForOneAnother(t *testing.T) {
	campaign.SkipShort(t)
	const sample, decode = "samples/forward-batch-packed-no-mask", "decoder/alibi-decode"
	for _, tc := range []struct {
		made, other, on, elsewhere string
		// ruled is the verdict of the case that rules the other out; "" if none does.
		ruled string
	}{
		{"scale-twice", "scale-of-model", sample, "seed/unmasked", "fail"},
		{"alibi-missing-at-decode", "alibi-missing", decode, "decoder/alibi", "pass"},
		// scale-twice could be made first, and its scale overwritten.
		{"scale-of-model", "scale-twice", sample, "seed/unmasked", ""},
		// alibi-missing-at-decode changes nothing on the other case.
		{"alibi-missing", "alibi-missing-at-decode", decode, "decoder/alibi", ""},
	} {
		t.Run(tc.made, func(t *testing.T) {
			alone, read := withMistakes(t, []string{tc.made}, tc.on)
			find(t, alone, read)
			require.Len(t, alone[0].Diagnosis.Matches, 2)
			require.Empty(t, alone[0].RuledOut, "nothing can be ruled out by the case itself")

			results, read := withMistakes(t, []string{tc.made}, tc.on, tc.elsewhere)
			found := find(t, results, read)
			require.Len(t, found, 1)
			require.Equal(t, tc.made, found[0].ID)
			require.Equal(t, tc.made, results[0].Diagnosis.Matches[0].ID())
			require.Equal(t, tc.other, results[0].Diagnosis.Matches[1].ID())
			if tc.ruled == "" {
				require.Empty(t, results[0].RuledOut)
				return
			}
			require.Equal(t, tc.ruled, string(results[1].Verdict))
			require.Equal(t, []report.RuledOut{{ID: tc.other, By: tc.elsewhere}}, results[0].RuledOut)
			require.Equal(t, results[0].RuledOut, found[0].RuledOut)
			require.Empty(t, found[0].Alternatives)

			var text strings.Builder
			r := &report.Report{Results: results, Causes: found}
			require.NoError(t, report.Text(report.TextOptions{})(&text, r))
			headline := string(results[0].Diagnosis.Class) + ": " + tc.made
			require.Regexp(t, "\nFAIL  "+tc.on+" +"+headline+"\n", text.String())
			require.Contains(t, text.String(), "  not       "+tc.other+", which "+tc.elsewhere+" rules out\n")
		})
	}
}

// A failure that neither of two mistakes explains rules out neither: two mistakes together may look
// like a third.
func TestAnotherFailureRulesNothingOut(t *testing.T) {
	results, read := withMistakes(t, []string{"alibi-missing"}, "decoder/alibi-decode")
	other, more := withMistakes(t, []string{"causal-missing"}, "decoder/alibi")
	maps.Copy(read, more)
	results = slices.Concat(results, other)
	find(t, results, read)
	require.Len(t, results[0].Diagnosis.Matches, 2)
	require.Empty(t, results[0].RuledOut)
}

// Mistakes are made together in the order of the computation. A mask that is spread for the right
// shape of the scores cannot be made before a mistake that changes the shape.
func TestMistakesTogetherKeepTheirStages(t *testing.T) {
	const name = "mha/padding"
	for _, earlier := range []string{"attention-over-batch", "heads-doubled"} {
		results := []report.Result{
			failing("a", "padding-tiled-over-heads", earlier),
			failing(name, earlier),
		}
		found := find(t, results, map[string]*fixture.Case{name: harnesstest.ReadCase(t, name)})
		require.Equal(t, []string{earlier}, causeIDs(found))
		require.Equal(t, []string{"a", name}, found[0].Failures)
	}
}

// A failure does not rule out a mistake that may have been made besides: one that changes nothing
// after the match, or one that cannot be made together with the match.
func TestAMistakeBesidesAMatchIsNotRuledOut(t *testing.T) {
	for _, tc := range []struct {
		on, match, besides string
		want               []report.RuledOut
	}{
		{"mha/causal-left-padding", "value-aliased-to-key", "key-value-swapped", nil},
		{"sdpa/bool-mask", "mask-after-softmax", "softmax-over-queries", nil},
		{"sdpa/causal", "causal-missing", "scale-missing", []report.RuledOut{{ID: "scale-missing", By: "sdpa/causal"}}},
	} {
		results := []report.Result{failing("a", tc.match, tc.besides), failing(tc.on, tc.match)}
		find(t, results, map[string]*fixture.Case{tc.on: harnesstest.ReadCase(t, tc.on)})
		require.Equal(t, tc.want, results[0].RuledOut, tc.on)
	}
}

// If every match is contradicted, none is ruled out: the subject makes the mistake on some cases
// only.
func TestNothingIsRuledOutWhereAllIsContradicted(t *testing.T) {
	wrong, read := withMistakes(t, []string{"scale-twice"}, "samples/forward-batch-packed-no-mask")
	right, more := withMistakes(t, nil, "seed/unmasked", "mha/causal")
	maps.Copy(read, more)
	results := slices.Concat(wrong, right)
	found := find(t, results, read)
	require.Empty(t, results[0].RuledOut)
	require.Len(t, found, 1)
	require.Equal(t, []string{"seed/unmasked", "mha/causal"}, found[0].Contradictions)
	require.Equal(t, 2, found[0].Passes)
}

// A mask that is missing only in some layers is contradicted by the others.
func TestCausesAreContradicted(t *testing.T) {
	s := subject.Subject{Name: "seed alone", MHA: func(c attention.Config) (subject.Module, error) {
		c.Bidirectional = c.Bidirectional || c.ParamLayout == attention.SeedLayout
		return attention.New(c)
	}}
	r, err := check.Check(t.Context(), fixtures.FS, s, "mha/causal", "mha/padding", "seed/causal")
	require.NoError(t, err)
	require.Len(t, r.Causes, 1)
	require.Equal(t, []string{"seed/causal"}, r.Causes[0].Failures)
	require.Equal(t, []string{"mha/causal"}, r.Causes[0].Contradictions)

	var text strings.Builder
	require.NoError(t, report.Text(report.TextOptions{})(&text, r))
	require.Contains(t, text.String(),
		"CAUSE causal-missing explains the failure, but 1 of the 2 passes contradict it\n")
	require.Contains(t, text.String(),
		"  passes    mha/causal: with it they would fail, so it is not made everywhere\n")
}

// Two mistakes at once may give the output of a third. A pair with a mistake that is contradicted,
// and explains nothing alone, is no answer.
func TestAPairWithoutSupport(t *testing.T) {
	const pair = "tail-keys-of-zero+cache-ignored"
	read := map[string]*fixture.Case{}
	passes := []report.Result{}
	for _, name := range []string{"decoder/nope", "mha/unmasked", "sdpa/unmasked"} {
		read[name] = harnesstest.ReadCase(t, name)
		passes = append(passes, passing(name))
	}
	results := append([]report.Result{failing("a", pair), failing("b")}, passes...)
	require.Empty(t, find(t, results, read))
	require.Equal(t, []report.RuledOut{{ID: pair, By: "decoder/nope"}}, results[0].RuledOut)
	require.Empty(t, results[0].Possible())
	require.Equal(t, diagnose.Unclear, results[0].Diagnosis.Class)
	require.True(t, results[0].Diagnosis.Unexplained)

	// A case that shows the mistake alone supports the pair.
	results = append([]report.Result{failing("a", pair), failing("b", "tail-keys-of-zero")}, passes...)
	require.Equal(t, []string{"tail-keys-of-zero", "cache-ignored"}, causeIDs(find(t, results, read)))
	// Without a contradiction it is an answer.
	results = []report.Result{failing("a", pair), failing("b")}
	require.Equal(t, []string{"tail-keys-of-zero", "cache-ignored"}, causeIDs(find(t, results, nil)))
}
