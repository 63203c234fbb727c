package command

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
)

// python returns a Python that has NumPy: pyref's own, or the machine's.
func python(t testing.TB) string {
	t.Helper()
	own, err := filepath.Abs("../../pyref/.venv/bin/python")
	require.NoError(t, err)
	for _, name := range []string{own, "python3", "python"} {
		if exec.Command(name, "-c", "import numpy").Run() == nil {
			return name
		}
	}
	t.Skip("no Python with NumPy")
	return ""
}

const numpyExample = "../../pyref/examples/numpy_attention.py"

// Attention in NumPy, in a process of its own, passes every embedded case.
func TestNumPyChild(t *testing.T) {
	var stdout, stderr bytes.Buffer
	status := Main([]string{"--json", "--", python(t), numpyExample}, nil, &stdout, &stderr)
	require.Zero(t, status, "%s%s", &stdout, &stderr)
	var r struct {
		Subject string         `json:"subject"`
		Summary map[string]int `json:"summary"`
	}
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &r))
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	modules := 0 // which the example does not compute
	for _, name := range names {
		if harnesstest.IsModule(name) {
			modules++
		}
	}
	require.Positive(t, modules)
	require.Equal(t, "numpy attention 1.0 (python)", r.Subject)
	require.Equal(t, map[string]int{
		"pass": len(names) - modules, "fail": 0, "error": 0, "skip": modules, "known": 0, "broken": 0,
	}, r.Summary)
}

func TestNumPyChildOnce(t *testing.T) {
	var stdout, stderr bytes.Buffer
	args := []string{"-q", "--once", "--case", "sdpa/alibi", "--case", "mha/weights-per-head", "--"}
	args = append(args, python(t), numpyExample)
	require.Zero(t, Main(args, nil, &stdout, &stderr), "%s%s", &stdout, &stderr)
	require.Regexp(t, `^2 passed, 0 failed in [0-9.]+ s\n$`, stdout.String())
}

// BenchmarkNumPyChild measures the cost of a child: the time of all cases on a child minus their
// time in this process. The child's own arithmetic, done twice, is included. The aim is below 10 ms
// a case.
func BenchmarkNumPyChild(b *testing.B) {
	child := []string{"-q", "--", python(b), numpyExample}
	names, err := fixture.Names(fixtures.FS)
	require.NoError(b, err)
	taken := func(args ...string) time.Duration {
		var stdout, stderr bytes.Buffer
		start := time.Now()
		require.Zero(b, Main(args, nil, &stdout, &stderr))
		return time.Since(start)
	}
	var extra time.Duration
	for b.Loop() {
		extra += taken(child...) - taken("-q")
	}
	b.ReportMetric(extra.Seconds()*1000/float64(b.N)/float64(len(names)), "ms/case")
}
