package command

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
)

var update = flag.Bool("update", false, "write testdata/golden.json anew")

// planted names ten cases and a mistake for each. Their reports must not change by accident.
var planted = map[string]string{
	"decoder/rope-half":       "rope-missing",
	"decoder/softcap":         "softcap-missing",
	"mha/causal":              "causal-missing",
	"mha/causal-left-padding": "padding-ignored",
	"mha/cross":               "weights-bfloat16",
	"mha/padding":             "output-weight-transposed",
	"mha/unmasked":            "value-aliased-to-key",
	"sdpa/causal":             "scale-missing",
	"sdpa/gqa":                "kv-heads-tiled",
	"seed/causal":             "weights-uniform",
}

// TestGolden compares the JSON report of ten planted mistakes with testdata/golden.json:
// every verdict, class, name, reason and cause, and numbers to three digits.
// go test ./harness/command -run TestGolden -update writes the file.
func TestGolden(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("other processors fuse multiplications and additions, and round otherwise")
	}
	dir := t.TempDir()
	for name, id := range planted {
		plantOutput(t, filepath.Join(dir, name, "output.npy"), name, id)
	}
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitFailed, Main([]string{"check", dir, "--json", "--no-duration"}, nil, &stdout, &stderr), "%s", &stderr)
	got := summarized(t, bytes.ReplaceAll(stdout.Bytes(), []byte(dir), []byte("DIR")))
	const golden = "testdata/golden.json"
	if *update {
		require.NoError(t, os.WriteFile(golden, got, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

// plantOutput writes the output of a case that is computed with a mistake.
func plantOutput(t *testing.T, file, name, id string) {
	t.Helper()
	m, ok := catalogue.ByID(id)
	require.True(t, ok, id)
	out, ok := judge.Planted(harnesstest.ReadCase(t, name), oracle.Precision{}, m)
	require.True(t, ok, "%s has no %s to get wrong", name, id)
	tensor, err := attention.FromFloat64(out.Shape, out.Value)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, harnesstest.NPY(tensor), 0o644))
}

// summarized returns a report without its largest parts: skipped cases, the band of every mistake,
// and the recovered weights. Numbers keep three digits.
func summarized(t *testing.T, report []byte) []byte {
	t.Helper()
	var r map[string]any
	require.NoError(t, json.Unmarshal(report, &r))
	var judged []any
	for _, result := range r["results"].([]any) {
		fields := result.(map[string]any)
		if fields["verdict"] == "skip" {
			continue
		}
		require.NotEmpty(t, fields["bands"])
		delete(fields, "bands")
		if pattern, ok := fields["pattern"].(map[string]any); ok {
			fields["pattern"] = pattern["findings"]
		}
		judged = append(judged, fields)
	}
	r["results"] = judged
	delete(r, "suite_hash") // every new case changes it
	delete(r, "selected")
	delete(r, "tool")
	text, err := json.MarshalIndent(threeDigits(r), "", "  ")
	require.NoError(t, err)
	return append(text, '\n')
}

func threeDigits(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = threeDigits(v[key])
		}
	case []any:
		for i := range v {
			v[i] = threeDigits(v[i])
		}
	case float64:
		if v != math.Trunc(v) {
			v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
			return v
		}
	}
	return value
}
