package check

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Outputs that were exchanged between two cases are said to be the expected ones of the other. A
// right output, and a wrong one with a name, are not looked for.
func TestExchangedOutputs(t *testing.T) {
	campaign.SkipShort(t)
	cases := []string{"mha/causal", "mha/padding", "mha/unmasked"}
	files := fstest.MapFS{}
	put := func(name, of string) {
		files[name+"/output.npy"] = &fstest.MapFile{Data: harnesstest.NPY(harnesstest.ReadCase(t, of).Output)}
	}
	put("mha/causal", "mha/padding")
	put("mha/padding", "mha/causal")
	put("mha/unmasked", "mha/unmasked")
	r, err := Folder(t.Context(), fixtures.FS, files, subject.Float32, cases...)
	require.NoError(t, err)
	for i, other := range []string{"mha/padding", "mha/causal"} {
		result := r.Results[i]
		require.Equal(t, report.Fail, result.Verdict)
		require.True(t, result.Proves(report.AnotherCase))
		require.Equal(t, []string{"it is the expected output of " + other}, result.ProvenTitles())
		require.Contains(t, result.Diagnosis.Reasons[0], "it is the expected output of "+other)
		require.False(t, result.Diagnosis.Unexplained)
	}
	require.Equal(t, report.Pass, r.Results[2].Verdict)
	require.Empty(t, r.Results[2].Proven)
}

// One output is compared with the whole suite, in the shape that it has. One wrong element is
// enough to be no case's output.
func TestOutputOfAnotherCase(t *testing.T) {
	campaign.SkipShort(t)
	c, other := harnesstest.ReadCase(t, "sdpa/causal"), harnesstest.ReadCase(t, "mha/cross-kdim")
	output := oracle.Array{Shape: other.Output.Shape, Value: other.Output.Float64s()}
	r, err := Output(t.Context(), fixtures.FS, c, subject.Float32, output, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"it is the expected output of mha/cross-kdim"}, r.ProvenTitles())

	output.Value[len(output.Value)/2] += 1e-3
	r, err = Output(t.Context(), fixtures.FS, c, subject.Float32, output, nil)
	require.NoError(t, err)
	require.Empty(t, r.Proven)
}
