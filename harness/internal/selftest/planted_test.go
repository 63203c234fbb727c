package selftest

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
)

const plantedCase = "sdpa/float-mask"

// plantedFS is a folder as pyref writes it: a committed case, its right output, and the output of a
// mistake.
func plantedFS(t *testing.T, mistake string) fstest.MapFS {
	t.Helper()
	dir := fstest.MapFS{}
	require.NoError(t, fs.WalkDir(fixtures.FS, plantedCase, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(fixtures.FS, file)
		dir["cases/"+file] = &fstest.MapFile{Data: data}
		return err
	}))
	c, err := fixture.Read(fixtures.FS, plantedCase)
	require.NoError(t, err)
	m, ok := catalogue.ByID(mistake)
	require.True(t, ok)
	problem, ok := catalogue.Make(oracle.FromCase(c), nil, m)
	require.True(t, ok)
	outputs := attention.NewTensor(append([]int{2}, c.Output.Shape...)...)
	copy(outputs.Data, c.Output.Data)
	for i, v := range problem.Run().Value {
		outputs.Data[len(c.Output.Data)+i] = float32(v)
	}
	dir["planted/sdpa-float-mask.npy"] = &fstest.MapFile{Data: harnesstest.NPY(outputs)}
	dir[indexFile] = &fstest.MapFile{Data: []byte(`{"sdpa/float-mask": ["right", "` + mistake + `"]}`)}
	return dir
}

// Outputs that pyref planted are judged, and counted as independent.
func TestPlantedElsewhere(t *testing.T) {
	trials, err := readPlanted(plantedFS(t, "bias-ignored"))
	require.NoError(t, err)
	require.Len(t, trials, 1)
	require.NoError(t, trials[0].run(t.Context(), Options{newJudge: newReferee}))
	found := trials[0].found
	require.Equal(t, Counts{Planted: 1, Distinguishable: 1, Right: 1}, found.Independent)
	require.Equal(t, Variants{Run: 1}, found.Variants)
	require.Equal(t, Detection{Planted: 1, Detected: 1}, found.Detection)
	require.Equal(t, ByPyTorch, found.Mistakes[0].By)
}

// An output that another mistake gave, under this one's name, is a finding.
func TestPlantedUnderAnotherName(t *testing.T) {
	dir := plantedFS(t, "bias-ignored")
	dir[indexFile].Data = []byte(`{"sdpa/float-mask": ["right", "scale-missing"]}`)
	trials, err := readPlanted(dir)
	require.NoError(t, err)
	require.NoError(t, trials[0].run(t.Context(), Options{newJudge: newReferee}))
	require.Equal(t, Counts{Planted: 1, Distinguishable: 1, Class: 1, Impostors: 1}, trials[0].found.Independent)
	require.Equal(t, []Finding{
		{otherName, independent, plantedCase, "scale-missing", "bias-ignored"},
	}, trials[0].found.Findings)
}

func TestPlantedIsRefused(t *testing.T) {
	index := func(text string) func(fstest.MapFS) {
		return func(dir fstest.MapFS) { dir[indexFile].Data = []byte(text) }
	}
	without := func(file string) func(fstest.MapFS) {
		return func(dir fstest.MapFS) { delete(dir, file) }
	}
	for _, tc := range []struct {
		name, want string
		change     func(fstest.MapFS)
	}{
		{"no index", "open planted/index.json: file does not exist", without(indexFile)},
		{"no JSON", "planted/index.json: invalid character 'x' looking for beginning of value", index("x")},
		{"nothing", "planted/index.json: it has no case", index("{}")},
		{
			"unknown mistake",
			`planted/index.json: sdpa/float-mask: "weights-random" is no known mistake that can be replayed`,
			index(`{"sdpa/float-mask": ["right", "weights-random"]}`),
		},
		{
			"too few outputs",
			"planted/sdpa-float-mask.npy: shape is (2, 3, 4, 9, 10), the index and the case give (1, 3, 4, 9, 10)",
			index(`{"sdpa/float-mask": ["right"]}`),
		},
		{"a case outside", "../fixtures/case.json: invalid argument", index(`{"../fixtures": ["right"]}`)},
		{"no outputs", "open planted/sdpa-float-mask.npy: file does not exist", without("planted/sdpa-float-mask.npy")},
		{"broken case", "sdpa/float-mask/case.json: ", func(dir fstest.MapFS) {
			dir["cases/sdpa/float-mask/case.json"].Data = []byte("x")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := plantedFS(t, "bias-ignored")
			tc.change(dir)
			_, err := readPlanted(dir)
			require.ErrorContains(t, err, tc.want)
		})
	}
}
