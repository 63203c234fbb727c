package judge

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
)

// suiteOf returns the named cases of the embedded suite.
func suiteOf(t *testing.T, cases ...string) fstest.MapFS {
	t.Helper()
	suite := fstest.MapFS{}
	for _, name := range cases {
		require.NoError(t, fs.WalkDir(fixtures.FS, name, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := fs.ReadFile(fixtures.FS, file)
			suite[file] = &fstest.MapFile{Data: data}
			return err
		}))
	}
	return suite
}

// An example is made on the simplest case that sees the mistake, not on the first by name.
func TestExample(t *testing.T) {
	const alibi, causal, unmasked = "decoder/alibi", "sdpa/causal", "sdpa/unmasked"
	const lowerRight = "sdpa/causal-lower-right"
	const square, window = "sdpa/bool-mask-square", "sdpa/window-two-sided"
	for _, tc := range []struct {
		name, mistake string
		cases         []string
		want          string
	}{
		{"the fewest features", "causal-missing", []string{alibi, causal}, causal},
		{"only one case sees it", "alibi-missing", []string{alibi, causal, unmasked}, alibi},
		{"fewer features with more numbers", "scale-missing", []string{square, causal, unmasked}, unmasked},
		{"of equals the fewest numbers", "scale-missing", []string{"sdpa/causal", "sdpa/no-batch"}, "sdpa/no-batch"},
		{"a smaller case that hides it", "causal-missing", []string{"sdpa/decode", lowerRight}, lowerRight},
		{"a simpler case that cannot have it", "window-missing", []string{unmasked, window}, window},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := Example(t.Context(), suiteOf(t, tc.cases...), mistake(t, tc.mistake))
			require.NoError(t, err)
			require.Equal(t, tc.want, r.Case)
			require.Equal(t, report.Fail, r.Verdict)
			require.Contains(t, matchedIDs(r.Diagnosis), tc.mistake)
		})
	}
	_, err := Example(t.Context(), suiteOf(t, unmasked), mistake(t, "causal-missing"))
	require.EqualError(t, err, "causal-missing: no case sees it")
	_, err = Example(t.Context(), fstest.MapFS{"a/case.json": {Data: []byte("{}")}}, mistake(t, "causal-missing"))
	require.ErrorContains(t, err, "a/case.json")
}

// Every option, mask and lower precision is a feature, and so are keys at other positions than the
// queries. Names, sizes and the rule for empty rows are none.
func TestFeatures(t *testing.T) {
	for name, want := range map[string]int{
		"sdpa/unmasked":           0,
		"sdpa/causal":             1,
		"sdpa/bfloat16":           2, // and causal
		"sdpa/window-two-sided":   1,
		"sdpa/causal-lower-right": 2, // and fewer queries than keys
	} {
		require.Equal(t, want, features(harnesstest.ReadCase(t, name)), name)
	}
	layer := *harnesstest.ReadCase(t, "mha/causal")
	plain := features(&layer)
	layer.Layer.EmptyRow++
	layer.Name, layer.Layer.NumHeads = "other", 2
	require.Equal(t, plain, features(&layer))
	layer.Layer.NeedWeights++
	require.Equal(t, plain+1, features(&layer))
}

// Planted gives float32 values in the case's order of dimensions, and refuses a mistake that cannot
// be made.
func TestPlanted(t *testing.T) {
	c := harnesstest.ReadCase(t, "mha/sequence-first")
	out, ok := Planted(c, oracle.Precision{}, mistake(t, "causal-missing"))
	require.True(t, ok)
	require.Equal(t, c.Output.Shape, out.Shape)
	for _, v := range out.Value {
		require.Equal(t, v, float64(float32(v)))
	}
	last := len(out.Value) - len(out.Value)/out.Shape[0] // the last rows, which see all keys anyway
	right := Right(c)
	tail := compare.Expected{
		Shape: []int{len(out.Value) - last}, Value: right.Value[last:], Sigma: right.Sigma[last:],
	}
	require.True(t, compare.Outputs(tail.Shape, out.Value[last:], tail).OK())
	require.False(t, compare.Outputs(out.Shape, out.Value, right).OK())
	_, ok = Planted(c, oracle.Precision{}, mistake(t, "causal-missing"), mistake(t, "alibi-missing"))
	require.False(t, ok)
}
