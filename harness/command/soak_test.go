package command

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
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

// held counts resources after the collector ran.
func held() resources {
	// Other systems list no descriptors. The collector would close lost files.
	open, _ := os.ReadDir("/proc/self/fd")
	runtime.GC()
	runtime.GC()
	time.Sleep(20 * time.Millisecond) // goroutines end beside this one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return resources{m.HeapAlloc, runtime.NumGoroutine(), len(open)}
}

// keptByCobra returns the bytes of the heap that stay after each run: Cobra keeps the completions
// of every flag in a variable of its own. A program runs one command and ends.
func keptByCobra() uint64 {
	const runs = 50
	none := func() { Main([]string{"--version"}, nil, io.Discard, io.Discard) }
	none()
	begin := held()
	for range runs {
		none()
	}
	return (held().heap - begin.heap) / runs
}

// Runs in one process leave nothing behind, and print the same, whether they pass, fail, start
// programs or read files.
func TestSoak(t *testing.T) {
	campaign.SkipShort(t)
	child, err := exec.LookPath("unmasked")
	if err != nil {
		t.Skip(err)
	}
	checks, suites, pairs := 5, 5, 1
	if campaign.Full() {
		checks, suites, pairs = 300, 40, 10
	}
	quick := []string{"--json", "--no-duration", "--case", "seed/causal", "--case", "mha/causal"}
	runs := [][]string{
		{"check", "seed/causal", "../../fixtures/seed/causal/expected/output.npy", "--json", "--no-duration"},
		quick,
		append([]string{"--fixtures", smallSuite(t)}, quick[:2]...),
	}
	kept := keptByCobra()
	printed, ran := make([]string, len(runs)), uint64(0)
	var begin resources
	for round := range checks {
		for i, args := range runs {
			if i > 0 && round >= suites {
				continue
			}
			var out, errs bytes.Buffer
			require.Zero(t, Main(args, nil, &out, &errs), "%s%s", &out, &errs)
			if round > 0 {
				require.Equal(t, printed[i], out.String())
			}
			printed[i] = out.String()
			ran++
		}
		if round == 2 {
			begin, ran = held(), 0
		}
	}
	end := held()
	require.LessOrEqual(t, end.goroutines, begin.goroutines)
	require.Equal(t, begin.descriptors, end.descriptors)
	require.Less(t, end.heap, begin.heap+1<<20+ran*kept, "the heap grows")

	sameWithJobs(t, child, pairs)
}

// sameWithJobs requires the same report of a failing program from one process at a time and from
// two, in pairs of runs.
func sameWithJobs(t *testing.T, child string, pairs int) {
	t.Helper()
	var first string
	before := held()
	for run := range 2 * pairs {
		jobs := strconv.Itoa(1 + run%2)
		var out, errs bytes.Buffer
		status := Main([]string{
			"--json", "--no-duration", "--once", "--jobs", jobs,
			"--case", "seed/causal", "--case", "mha/causal", "--", child,
		}, nil, &out, &errs)
		require.Equal(t, exitFailed, status, "%s%s", &out, &errs)
		if run == 0 {
			first = out.String()
		}
		require.Equal(t, first, out.String(), "--jobs %s", jobs)
	}
	require.Equal(t, before.descriptors, held().descriptors)
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
