package command

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
)

// resources are what a process holds.
type resources struct {
	heap                    uint64
	goroutines, descriptors int
}

func held() resources {
	open, _ := os.ReadDir("/proc/self/fd") // none on other systems; the collector closes lost files
	time.Sleep(20 * time.Millisecond)      // goroutines that have ended leave the count late
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return resources{m.HeapAlloc, runtime.NumGoroutine(), len(open)}
}

// Runs in one process leave nothing behind, and print the same, whether they pass, fail, start
// programs or read files.
func TestSoak(t *testing.T) {
	campaign.SkipShort(t)
	child, err := exec.LookPath("unmasked")
	if err != nil {
		t.Skip(err)
	}
	rounds := 5
	if campaign.Full() {
		rounds = 100 // of three runs each
	}
	quick := []string{"--json", "--no-duration", "--case", "seed/causal", "--case", "mha/causal"}
	runs := [][]string{
		quick,
		append([]string{"--fixtures", smallSuite(t)}, quick[:2]...),
		{"check", "seed/causal", "../../fixtures/seed/causal/expected/output.npy", "--json", "--no-duration"},
	}
	printed := make([]string, len(runs))
	var begin resources
	for round := range rounds {
		for i, args := range runs {
			var out, errs bytes.Buffer
			require.Zero(t, Main(args, nil, &out, &errs), "%s%s", &out, &errs)
			if round > 0 {
				require.Equal(t, printed[i], out.String())
			}
			printed[i] = out.String()
		}
		if round == 2 {
			begin = held()
		}
	}
	end := held()
	require.LessOrEqual(t, end.goroutines, begin.goroutines)
	// One that is about to be closed may be open. A run that leaves one leaves six by now.
	require.LessOrEqual(t, end.descriptors, begin.descriptors+1)
	require.Less(t, end.heap, begin.heap+2<<20, "the heap grows")

	sameWithJobs(t, child)
}

// sameWithJobs requires the same report of a failing program from one process at a time and from
// two.
func sameWithJobs(t *testing.T, child string) {
	t.Helper()
	var printed []string
	before := held()
	for _, jobs := range []string{"1", "2"} {
		var out, errs bytes.Buffer
		status := Main([]string{
			"--json", "--no-duration", "--once", "--jobs", jobs, "--case", "seed/*", "--case", "mha/causal", "--", child,
		}, nil, &out, &errs)
		require.Equal(t, exitFailed, status, "%s%s", &out, &errs)
		printed = append(printed, out.String())
	}
	require.Equal(t, printed[0], printed[1])
	require.LessOrEqual(t, held().descriptors, before.descriptors+1)
}

// smallSuite returns a folder with two cases.
func smallSuite(t *testing.T) string {
	t.Helper()
	seed, err := fs.Sub(fixtures.FS, "seed")
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "suite")
	require.NoError(t, os.CopyFS(dir, seed))
	return dir
}
