package protocol_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/protocol"
)

// A second export completes the first and loses nothing.
func TestExportAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	require.NoError(t, protocol.Export(fixtures.FS, dir, "seed/causal"))
	answer := filepath.Join(dir, "seed/causal", protocol.OutputFile)
	require.NoError(t, os.WriteFile(answer, []byte("mine"), 0o644))
	query := filepath.Join(dir, "seed/causal/inputs/query.npy")
	require.NoError(t, os.Remove(query))
	require.NoError(t, protocol.Export(fixtures.FS, dir, "seed/causal", "sdpa/causal"))
	require.FileExists(t, query)
	require.FileExists(t, filepath.Join(dir, "sdpa/causal/request.json"))
	data, err := os.ReadFile(answer)
	require.NoError(t, err)
	require.Equal(t, "mine", string(data))
}

// An export that was killed leaves whole files, and one that was being written.
func TestExportCompletesAKilledOne(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, protocol.Export(fixtures.FS, dir, "seed/causal"))
	query := filepath.Join(dir, "seed/causal/inputs/query.npy")
	whole, err := os.ReadFile(query)
	require.NoError(t, err)
	require.NoError(t, os.Remove(query))
	require.NoError(t, os.WriteFile(query+".part", whole[:len(whole)/2], 0o644))
	require.NoError(t, protocol.Export(fixtures.FS, dir, "seed/causal"))
	completed, err := os.ReadFile(query)
	require.NoError(t, err)
	require.Equal(t, whole, completed)
	require.NoFileExists(t, query+".part")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "seed/causal/mine.part"), nil, 0o644))
	require.ErrorContains(t, protocol.Export(fixtures.FS, dir, "seed/causal"), "mine.part: does not belong")
}

// A disk that is full, or a folder that cannot be written, ends the export at the first error.
func TestExportStopsAtTheFirstError(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "seed/causal/inputs/query.npy.part/x"), 0o755))
	err := protocol.Export(fixtures.FS, dir, "seed/causal", "sdpa/causal", "sdpa/scale")
	require.ErrorContains(t, err, "query.npy")
	require.NoDirExists(t, filepath.Join(dir, "sdpa"))
}

func TestExportRefuses(t *testing.T) {
	for _, tc := range []struct{ name, file, err string }{
		{"a file outside all cases", "notes.txt", "notes.txt: does not belong to an export of this suite"},
		{"another file in a case", "seed/causal/mine.py", "mine.py: does not belong to an export of this suite"},
		{"another request", "seed/causal/request.json", "request.json: is not what this suite would write there"},
		{"another input", "seed/causal/inputs/query.npy", "query.npy: is not what this suite would write there"},
		{"an input more", "seed/causal/inputs/mask.npy", "mask.npy: is not what this suite would write there"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, tc.file)
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
			require.NoError(t, os.WriteFile(file, []byte("precious"), 0o644))
			err := protocol.Export(fixtures.FS, dir, "sdpa/causal", "seed/causal")
			require.ErrorIs(t, err, fs.ErrExist)
			require.ErrorContains(t, err, tc.err)
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, "precious", string(data))
			require.NoDirExists(t, filepath.Join(dir, "sdpa"), "nothing is written before everything is looked at")
		})
	}
	dir := t.TempDir()
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "seed")); err == nil {
		require.ErrorIs(t, protocol.Export(fixtures.FS, dir, "seed/causal"), fs.ErrExist, "a link could lead anywhere")
	}
	broken := fstest.MapFS{"a/case.json": {Data: []byte("{}")}}
	require.ErrorContains(t, protocol.Export(broken, dir+"2", "a"), "a/case.json: version: 0, want 1")
	require.ErrorContains(t, protocol.Export(fstest.MapFS{}, dir+"2"), "no case found")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	require.Error(t, protocol.Export(fixtures.FS, file, "seed/causal"))
}
