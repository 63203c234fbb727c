package causes_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Heads that nobody writes, in functions and layers, are one cause.
func TestCauseOfHeadsThatNobodyWrites(t *testing.T) {
	lacks := func(name, title string) report.Result {
		r := failing(name)
		r.Diagnosis.Unwritten = &diagnose.Unwritten{ID: "heads-not-written", Title: title, Fix: "See the heads."}
		return r
	}
	results := []report.Result{
		lacks("sdpa/gqa", "heads 1-3 are not written"), lacks("mha/causal", "heads 1-3 are not written"),
		lacks("mha/six-heads", "heads 1-5 are not written"), passing("sdpa/one-head"),
	}
	read := map[string]*fixture.Case{}
	for _, r := range results {
		read[r.Case] = harnesstest.ReadCase(t, r.Case)
	}
	found := find(t, results, read)
	require.Equal(t, []string{"heads-not-written"}, causeIDs(found))
	require.Equal(t, "heads 1-3 are not written; heads 1-5 are not written", found[0].Title)
	require.Equal(t, []string{"sdpa/gqa", "mha/causal", "mha/six-heads"}, found[0].Failures)
	require.Empty(t, found[0].Contradictions, "it has one head")

	// In a layer of two heads the second half of the heads is zero. Functions speak against
	// weights.
	half := slices.Concat(results, []report.Result{failing("seed/causal", "second-half-of-heads-zero")})
	half[1].Case = "sdpa/window"
	read["sdpa/window"] = harnesstest.ReadCase(t, "sdpa/window")
	require.Equal(t, []string{"heads-not-written"}, causeIDs(find(t, half, read)))

	require.Empty(t, find(t, results[:1], read), "one failure may lack heads for another reason")
	read["mha/padding"] = harnesstest.ReadCase(t, "mha/padding")
	found = find(t, append(results, passing("mha/padding")), read)
	require.Equal(t, []string{"mha/padding"}, found[0].Contradictions)
}

// The heads of a function that writes the first one alone.
func TestAFunctionOfOneHead(t *testing.T) {
	s := subject.Subject{SDPA: func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		out, err := attention.SDPA(q, k, v, o)
		if err != nil || len(out.Shape) < 4 {
			return out, err
		}
		head := out.Shape[2] * out.Shape[3]
		for i := range out.Data {
			if i/head%out.Shape[1] > 0 {
				out.Data[i] = 0
			}
		}
		return out, nil
	}}
	r, err := check.Check(t.Context(), fixtures.FS, s, "sdpa/causal", "sdpa/softcap", "sdpa/window")
	require.NoError(t, err)
	require.Equal(t, []string{"heads-not-written"}, causeIDs(r.Causes))
	require.Len(t, r.Causes[0].Failures, 3)
}
