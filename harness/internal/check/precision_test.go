package check

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
	"github.com/difftest/difftest/harness/internal/variant"
)

// inBFloat16 returns the right outputs of some cases, computed in bfloat16.
func inBFloat16(t *testing.T, cases ...string) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	for _, name := range cases {
		c := harnesstest.ReadCase(t, name)
		out := attention.NewTensor(c.Output.Shape...)
		for i, v := range (variant.Variant{}).In(oracle.BFloat16).Run(oracle.FromCase(c)) {
			out.Data[i] = float32(v)
		}
		files[name+"/output.npy"] = &fstest.MapFile{Data: harnesstest.NPY(out)}
	}
	return files
}

// Outputs in bfloat16 pass if the caller or their replies declare bfloat16, and fail otherwise.
func TestFolderInADeclaredPrecision(t *testing.T) {
	campaign.SkipShort(t)
	cases := []string{"mha/causal", "sdpa/causal"}
	reply := func(files fstest.MapFS, name, text string) {
		files[name+"/reply.json"] = &fstest.MapFile{Data: []byte(text)}
	}
	r, err := Folder(t.Context(), fixtures.FS, inBFloat16(t, cases...), subject.Float32, cases...)
	require.NoError(t, err)
	require.Equal(t, 2, r.Count(report.Fail))

	r, err = Folder(t.Context(), fixtures.FS, inBFloat16(t, cases...), subject.BFloat16, cases...)
	require.NoError(t, err)
	require.Equal(t, 2, r.Count(report.Pass))
	require.Equal(t, "bfloat16", r.Precision)

	files := inBFloat16(t, cases...)
	for _, name := range cases {
		reply(files, name, `{"type":"ok","precision":"bfloat16"}`)
	}
	r, err = Folder(t.Context(), fixtures.FS, files, subject.Float32, cases...)
	require.NoError(t, err)
	require.Equal(t, 2, r.Count(report.Pass))
	require.Equal(t, "bfloat16", r.Precision)

	_, err = Folder(t.Context(), fixtures.FS, files, subject.TF32, cases...)
	require.ErrorContains(t, err, `sdpa/causal/reply.json: precision: "bfloat16", but "tf32" is declared for all`)

	reply(files, cases[0], `{"type":"ok","precision":"float16"}`)
	_, err = Folder(t.Context(), fixtures.FS, files, subject.Float32, cases...)
	require.ErrorContains(t, err, `declare different precisions: ["bfloat16" "float16"]`)

	reply(files, cases[0], `{"type":"ok","precision":"float8"}`)
	_, err = Folder(t.Context(), fixtures.FS, files, subject.Float32, cases...)
	require.ErrorContains(t, err, `mha/causal/reply.json: precision: "float8", want one of`)

	_, err = Folder(t.Context(), fixtures.FS, files, "float8", cases...)
	require.ErrorContains(t, err, `precision: "float8", want one of`)
}
