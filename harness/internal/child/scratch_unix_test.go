//go:build unix && !solaris && !aix

package child

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A run removes the folders of runs that were killed, and no other one.
func TestScratchOfKilledRuns(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	old := time.Now().Add(-time.Hour)
	folder := func(name string, made time.Time) string {
		dir := filepath.Join(temp, name)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "case-1", "inputs"), 0o755))
		require.NoError(t, os.Chtimes(dir, made, made))
		return dir
	}
	running, err := newScratch()
	require.NoError(t, err)
	require.NoError(t, os.Chtimes(running.dir, old, old))
	killed, young := folder("difftest-run-1", old), folder("difftest-run-2", time.Now())
	other := folder("difftest-3", old)

	mine, err := newScratch()
	require.NoError(t, err)
	require.NoDirExists(t, killed)
	for _, dir := range []string{running.dir, young, other, mine.dir} {
		require.DirExists(t, dir)
	}
	require.NoError(t, mine.remove())
	require.NoError(t, running.remove())
	require.NoDirExists(t, running.dir)
}
