package causes_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/causes"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// A layer without its masks: every failure has one of two causes, or both, and no passing case
// speaks against either.
func TestCausesOfALayerWithoutMasks(t *testing.T) {
	s := subject.Subject{Name: "maskless", MHA: func(c attention.Config) (subject.Module, error) {
		c.Bidirectional = true
		m, err := attention.New(c)
		return unpadded{m}, err
	}}
	r, err := check.Check(context.Background(), fixtures.FS, s, "mha/causal", "mha/padding", "mha/causal-left-padding", "mha/unmasked", "seed/causal", "seed/unmasked")
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
	require.Contains(t, text.String(), "CAUSE causal-missing explains 3 of 4 failures and none of the 2 passes contradicts it\n  what      the causal mask missing\n  failures  mha/causal, mha/causal-left-padding, seed/causal\n")
}

// A mask that is missing only in some layers is no mistake of all of them.
func TestCausesAreContradicted(t *testing.T) {
	s := subject.Subject{Name: "seed alone", MHA: func(c attention.Config) (subject.Module, error) {
		c.Bidirectional = c.Bidirectional || c.ParamLayout == attention.SeedLayout
		return attention.New(c)
	}}
	r, err := check.Check(context.Background(), fixtures.FS, s, "mha/causal", "mha/padding", "seed/causal")
	require.NoError(t, err)
	require.Len(t, r.Causes, 1)
	require.Equal(t, []string{"seed/causal"}, r.Causes[0].Failures)
	require.Equal(t, []string{"mha/causal"}, r.Causes[0].Contradictions)

	var text strings.Builder
	require.NoError(t, report.Text(report.TextOptions{})(&text, r))
	require.Contains(t, text.String(), "CAUSE causal-missing explains the failure, but 1 of the 2 passes contradict it\n")
	require.Contains(t, text.String(), "  passes    mha/causal: with it they would fail, so it is not made everywhere\n")
}

func TestARightSubjectHasNoCauses(t *testing.T) {
	r, err := check.Check(context.Background(), fixtures.FS, harnesstest.BuiltIn(), "mha/causal", "seed/causal")
	require.NoError(t, err)
	require.Empty(t, r.Causes)
}

// find looks for the causes of results, and orders their matches in place.
func find(t *testing.T, results []report.Result, read map[string]*fixture.Case) []report.Cause {
	t.Helper()
	found, ordered := causes.Find(t.Context(), results, read, "")
	copy(results, ordered)
	return found
}

// withMistakes gives the results of a subject that makes mistakes on every case that has something to get wrong
// so, one after the other, and computes all else exactly.
func withMistakes(t *testing.T, ids []string, cases ...string) (results []report.Result, read map[string]*fixture.Case) {
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
		r, err := judge.Outputs(t.Context(), c, &oracle.Array{Shape: c.Output.Shape, Value: got}, nil)
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

// A subject with one mistake has one cause: it explains every failure, and no pass contradicts it.
func TestOneMistakeOverTheSuiteIsOneCause(t *testing.T) {
	if testing.Short() {
		t.Skip("every case, judged several times")
	}
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	for _, id := range []string{"padding-ignored", "rope-key-only", "window-missing", "alibi-missing-at-decode", "kv-heads-tiled", "sinks-missing"} {
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

// Two mistakes at once: each is a cause, by the cases that have only one of them to get wrong and by those
// that have both.
func TestTwoMistakesAreTwoCauses(t *testing.T) {
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

// A layer that is wrong only where it rotates.
func TestCauseOfALayerThatRotatesWrongly(t *testing.T) {
	s := harnesstest.BuiltIn()
	s.MHA = func(c attention.Config) (subject.Module, error) {
		if c.RoPE != nil {
			rope := *c.RoPE
			rope.Base *= 3
			if rope.Base == 0 {
				rope.Base = 500000
			}
			c.RoPE = &rope
		}
		return attention.New(c)
	}
	r, err := check.Check(t.Context(), fixtures.FS, s, "decoder/rope-half", "decoder/rope-interleaved", "decoder/nope", "decoder/alibi", "mha/causal", "mha/padding", "sdpa/causal")
	require.NoError(t, err)
	require.Equal(t, []string{"decoder/rope-half", "decoder/rope-interleaved"}, named(r.Results, report.Result.Wrong))
	for _, c := range r.Causes {
		require.Contains(t, c.ID, "rope", "nothing but the rotation is wrong")
		require.Empty(t, c.Contradictions)
		require.Equal(t, 5, c.Passes)
	}
}

// What a case cannot tell apart, others can: one that fails in another way, or one that passes.
func TestCasesRuleOutForOneAnother(t *testing.T) {
	const sample, decode = "samples/forward-batch-packed-no-mask", "decoder/alibi-decode"
	for _, tc := range []struct {
		made, other, on, elsewhere string
		ruled                      string // verdict of the case that rules the other out; "" where none does
	}{
		{"scale-twice", "scale-of-model", sample, "seed/unmasked", "fail"},
		{"alibi-missing-at-decode", "alibi-missing", decode, "decoder/alibi", "pass"},
		{"scale-of-model", "scale-twice", sample, "seed/unmasked", ""},            // which could be made before, and written over
		{"alibi-missing", "alibi-missing-at-decode", decode, "decoder/alibi", ""}, // which does nothing elsewhere
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
			require.NoError(t, report.Text(report.TextOptions{})(&text, &report.Report{Results: results, Causes: found}))
			require.Contains(t, text.String(), "FAIL "+tc.on+"  "+string(results[0].Diagnosis.Class)+": "+tc.made+"\n")
			require.Contains(t, text.String(), "  not       "+tc.other+", which "+tc.elsewhere+" rules out\n")
		})
	}
}

// A failure that is explained by neither of two mistakes rules out none: what explains it may be what two
// others look like together.
func TestAnotherFailureRulesNothingOut(t *testing.T) {
	results, read := withMistakes(t, []string{"alibi-missing"}, "decoder/alibi-decode")
	other, more := withMistakes(t, []string{"causal-missing"}, "decoder/alibi")
	maps.Copy(read, more)
	results = slices.Concat(results, other)
	find(t, results, read)
	require.Len(t, results[0].Diagnosis.Matches, 2)
	require.Empty(t, results[0].RuledOut)
}

// What no case tells apart stands beside the cause.
func TestAlternativesOfACause(t *testing.T) {
	results, read := withMistakes(t, []string{"scale-twice"}, "samples/forward-batch-packed-no-mask", "samples/forward-batch-separate-no-mask")
	found := find(t, results, read)
	require.Len(t, found, 1)
	require.ElementsMatch(t, []string{"scale-twice", "scale-of-model"}, append([]string{found[0].ID}, found[0].Alternatives...))
}

// Where every match is contradicted none is ruled out: the mistake is made somewhere, and not everywhere.
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

// Weights that were never loaded are the first cause, and layers that pass speak against it.
func TestCauseOfWeightsNeverLoaded(t *testing.T) {
	if testing.Short() {
		t.Skip("all pairs of mistakes, several times")
	}
	never, names := harnesstest.Both(), []string{"seed/causal", "seed/unmasked", "mha/causal", "sdpa/causal"}
	never.SDPA = attention.SDPA
	r, err := check.Check(t.Context(), fixtures.FS, harnesstest.Unreadable(never), names...)
	require.NoError(t, err)
	require.Len(t, r.Causes, 2)
	require.Equal(t, "load-no-effect", r.Causes[0].ID)
	require.Equal(t, []string{"seed/causal", "seed/unmasked", "mha/causal"}, r.Causes[0].Failures)
	require.Empty(t, r.Causes[0].Contradictions)
	require.Zero(t, r.Causes[0].Passes, "a function has no weights")
	require.Equal(t, "future-token", r.Causes[1].ID)
	require.True(t, r.Causes[1].Live)
	require.Equal(t, []string{"seed/causal", "mha/causal"}, r.Causes[1].Failures)
	require.Equal(t, []string{"sdpa/causal"}, r.Causes[1].Contradictions, "the function has its mask")

	readable := harnesstest.Both()
	r, err = check.Check(t.Context(), fixtures.FS, readable, names...)
	require.NoError(t, err)
	require.Equal(t, "load-no-effect", r.Causes[0].ID)
	require.Equal(t, "causal-missing", r.Causes[1].ID, "by the weights that it reads back")

	right := harnesstest.NeverLoaded().MHA
	r, err = check.Check(t.Context(), fixtures.FS, subject.Subject{MHA: func(c attention.Config) (subject.Module, error) {
		if c.ParamLayout == attention.SeedLayout {
			return right(c)
		}
		return attention.New(c)
	}}, names...)
	require.NoError(t, err)
	require.Len(t, r.Causes, 1)
	require.Equal(t, []string{"mha/causal"}, r.Causes[0].Contradictions)
}

// Weights that are others than were loaded, each layer in its own way.
func TestCauseOfOtherWeights(t *testing.T) {
	if testing.Short() {
		t.Skip("all pairs of mistakes, several times")
	}
	r, err := check.Check(t.Context(), fixtures.FS, harnesstest.OtherWeights(), "seed/causal", "samples/module-bare")
	require.NoError(t, err)
	require.Len(t, r.Causes, 1)
	require.Equal(t, "other-parameters", r.Causes[0].ID)
	require.Equal(t, []string{"seed/causal", "samples/module-bare"}, r.Causes[0].Failures)
}

// A projection that holds other values, which have no name, is one cause.
func TestCauseOfOneProjection(t *testing.T) {
	s := subject.Subject{Name: "an output projection read one number too late", MHA: func(c attention.Config) (subject.Module, error) {
		m, err := attention.New(c)
		return outputLate{m}, err
	}}
	r, err := check.Check(t.Context(), fixtures.FS, s, "mha/unmasked", "mha/causal", "mha/cross", "sdpa/causal")
	require.NoError(t, err)
	require.Equal(t, 3, r.Count(report.Fail))
	require.Len(t, r.Causes, 1)
	require.Equal(t, "other-output-parameters", r.Causes[0].ID)
	require.Equal(t, []string{"mha/unmasked", "mha/causal", "mha/cross"}, r.Causes[0].Failures)
	require.Empty(t, r.Causes[0].Contradictions)
}

// outputLate is a layer that reads its output projection one number too late, and does not say what it holds.
type outputLate struct{ layer *attention.MultiHead }

func (o outputLate) Forward(in attention.Inputs) (attention.Outputs, error) {
	return o.layer.Forward(in)
}

func (o outputLate) LoadStateDict(dict attention.StateDict, s attention.Strictness) (attention.IncompatibleKeys, error) {
	own := attention.StateDict{}
	for _, name := range slices.Sorted(maps.Keys(dict)) {
		own[name] = dict[name].Clone()
		if strings.HasSuffix(name, "out_proj.weight") || strings.HasSuffix(name, "o_proj.weight") {
			data := own[name].Data
			copy(data[1:], dict[name].Data)
			data[0] = dict[name].Data[len(data)-1]
		}
	}
	return o.layer.LoadStateDict(own, s)
}

// unpadded is a layer that takes no padding.
type unpadded struct{ *attention.MultiHead }

func (u unpadded) Forward(in attention.Inputs) (attention.Outputs, error) {
	in.Padding = nil
	return u.MultiHead.Forward(in)
}
