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
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Weights that were never loaded are the first cause, and layers that pass contradict it.
func TestCauseOfWeightsNeverLoaded(t *testing.T) {
	campaign.SkipShort(t)
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

	neverLoaded := harnesstest.NeverLoaded().MHA
	onlySeed := subject.Subject{MHA: func(c attention.Config) (subject.Module, error) {
		if c.ParamLayout == attention.SeedLayout {
			return neverLoaded(c)
		}
		return attention.New(c)
	}}
	r, err = check.Check(t.Context(), fixtures.FS, onlySeed, names...)
	require.NoError(t, err)
	require.Len(t, r.Causes, 1)
	require.Equal(t, []string{"mha/causal"}, r.Causes[0].Contradictions)
}

// Layers that hold other weights than the loaded ones have one cause, even if each holds different
// ones.
func TestCauseOfOtherWeights(t *testing.T) {
	campaign.SkipShort(t)
	r, err := check.Check(t.Context(), fixtures.FS, harnesstest.OtherWeights(), "seed/causal", "samples/module-bare")
	require.NoError(t, err)
	require.Len(t, r.Causes, 1)
	require.Equal(t, "other-parameters", r.Causes[0].ID)
	require.Equal(t, []string{"seed/causal", "samples/module-bare"}, r.Causes[0].Failures)
}

// A projection with wrong values that no mistake explains is one cause.
func TestCauseOfOneProjection(t *testing.T) {
	campaign.SkipShort(t)
	s := subject.Subject{MHA: func(c attention.Config) (subject.Module, error) {
		m, err := attention.New(c)
		return outputLate{m}, err
	}}
	wrong := []string{"mha/unmasked", "mha/causal"}
	if campaign.Full() {
		wrong = append(wrong, "mha/cross")
	}
	r, err := check.Check(t.Context(), fixtures.FS, s, append(slices.Clone(wrong), "sdpa/causal")...)
	require.NoError(t, err)
	require.Equal(t, len(wrong), r.Count(report.Fail))
	require.Equal(t, []string{"other-output-parameters"}, causeIDs(r.Causes))
	require.Equal(t, wrong, r.Causes[0].Failures)
	require.Empty(t, r.Causes[0].Contradictions)

	// A single failure may have wrong values by chance.
	require.Empty(t, find(t, slices.Clone(r.Results[:1]), nil))

	// A passing layer has the right parameters. A passing function has none.
	results := append(slices.Clone(r.Results), passing("seed/causal"), passing("sdpa/softcap"))
	read := map[string]*fixture.Case{
		"seed/causal":  harnesstest.ReadCase(t, "seed/causal"),
		"sdpa/softcap": harnesstest.ReadCase(t, "sdpa/softcap"),
	}
	found := find(t, results, read)
	require.Equal(t, []string{"other-output-parameters"}, causeIDs(found))
	require.Equal(t, []string{"seed/causal"}, found[0].Contradictions)
	require.Equal(t, 1, found[0].Passes)

	deniedByFailures(t, r.Results, read, wrong)

	// Of the projections that explain a failure, only the narrowest counts, and what the case
	// cannot tell from it.
	narrowestAlone(t, r.Results)
}

// deniedByFailures asks for the cause of failing layers beside other failures.
func deniedByFailures(t *testing.T, results []report.Result, read map[string]*fixture.Case, wrong []string) {
	t.Helper()
	// A failing function has no parameters, and a failing layer may show the loaded ones. More
	// denials than failures leave no cause.
	denied := slices.Clone(results)
	for n, name := range []string{"sdpa/gqa", "sdpa/scale", "sdpa/window"} {
		denied = append(denied, failing(name))
		read[name] = harnesstest.ReadCase(t, name)
		found := find(t, denied, read)
		require.Equal(t, n+1 < len(wrong), len(found) > 0, "%d failing functions, %d failures", n+1, len(wrong))
		if len(found) > 0 {
			require.Len(t, found[0].Otherwise, n+1)
			require.Empty(t, found[0].Contradictions)
		}
	}
	loaded := failing("seed/unmasked")
	loaded.Loaded = true
	require.Equal(t, []string{"seed/unmasked"}, find(t, append(slices.Clone(results), loaded), read)[0].Otherwise)
	loaded.Loaded = false
	require.Empty(t, find(t, append(slices.Clone(results), loaded), read)[0].Otherwise)
}

// narrowestAlone asks for the cause of failures whose fits are wide, or that are explained already.
func narrowestAlone(t *testing.T, results []report.Result) {
	t.Helper()
	wide := slices.Clone(results)
	for i := range wide {
		wide[i].Diagnosis.Fits = slices.Clone(wide[i].Diagnosis.Fits)
		for j := range wide[i].Diagnosis.Fits {
			wide[i].Diagnosis.Fits[j].Narrowest, wide[i].Diagnosis.Fits[j].Confusable = false, false
		}
	}
	require.Empty(t, find(t, wide, nil))

	// A failure with a match, or with a proven load, is explained already.
	matched := slices.Clone(results)
	for i := range matched {
		matched[i].Diagnosis.Matches = failing("", "causal-missing").Diagnosis.Matches
	}
	require.Equal(t, []string{"causal-missing"}, causeIDs(find(t, matched, nil)))
	proven := slices.Clone(results)
	for i := range proven {
		proven[i].Proven = []report.Proof{report.OtherParameters}
	}
	require.Equal(t, []string{report.OtherParameters.ID}, causeIDs(find(t, proven, nil)))
}

// outputLate is a layer that loads its output projection shifted by one number. It does not show
// what it holds.
type outputLate struct{ layer *attention.MultiHead }

func (o outputLate) Forward(in attention.Inputs) (attention.Outputs, error) {
	return o.layer.Forward(in)
}

func (o outputLate) LoadStateDict(
	dict attention.StateDict, s attention.Strictness,
) (attention.IncompatibleKeys, error) {
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
