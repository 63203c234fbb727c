package command

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
)

// initialized runs init in a folder.
func initialized(t *testing.T, args ...string) {
	t.Helper()
	var stdout, stderr strings.Builder
	require.Zero(t, Main(append([]string{"init"}, args...), nil, &stdout, &stderr), "%s", &stderr)
}

// replaceIn replaces a text in a file, which must contain it.
func replaceIn(t *testing.T, file, old, new string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(text), old)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(text), old, new, 1)), 0o644))
}

// The test that init writes into a Go module compiles, says what to do, and passes when filled in.
func TestInitGo(t *testing.T) {
	if testing.Short() {
		t.Skip("links a test binary")
	}
	repository, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(
		"module example.com/port\n\ngo 1.26\n\nrequire github.com/difftest/difftest v0.0.0\n\n"+
			"replace github.com/difftest/difftest => "+repository+"\n"), 0o644))
	sums, err := os.ReadFile(filepath.Join(repository, "go.sum"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o644))
	initialized(t, dir)
	run := func(args ...string) (string, error) {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run("vet", ".")
	require.NoError(t, err, "%s", out)
	out, err = run("test", ".")
	require.Error(t, err)
	require.Contains(t, out, "difftest_test.go: fill in sdpa or layer below, then delete this line")

	file := filepath.Join(dir, "difftest_test.go")
	replaceIn(t, file, `	t.Fatal("difftest_test.go: fill in sdpa or layer below, then delete this line")`+"\n", "")
	out, err = run("test", ".")
	require.Error(t, err)
	require.Contains(t, out, " cases were skipped")

	replaceIn(t, file, "	return nil, errors.ErrUnsupported\n", "	return attention.SDPA(query, key, value, o)\n")
	out, err = run("test", "-v", "-run", "TestAttention/sdpa/", ".")
	require.NoError(t, err, "%s", out)
	require.Contains(t, out, "--- PASS: TestAttention/sdpa/causal")
	formatted, err := exec.Command("gofmt", "-l", dir).Output()
	require.NoError(t, err)
	require.Empty(t, string(formatted))
}

// The program that init writes in Python says what to do, and passes when it is filled in.
func TestInitPython(t *testing.T) {
	python, dir := python(t), t.TempDir()
	initialized(t, "--python", dir)
	subject := filepath.Join(dir, "difftest_subject.py")
	run := func(pattern string) (int, string) {
		var stdout, stderr strings.Builder
		status := Main([]string{"--case", pattern, "--", python, subject}, nil, &stdout, &stderr)
		return status, stdout.String()
	}
	status, out := run("sdpa/unmasked")
	require.Equal(t, exitFailed, status)
	require.Contains(t, out, "RuntimeError: difftest_subject.py: fill in sdpa, or raise NotImplementedError")

	replaceIn(t, subject, `    raise RuntimeError("difftest_subject.py: fill in sdpa, or raise NotImplementedError")`,
		`    if allow is not None or bias is not None or config["causality"] != "none":
        raise NotImplementedError("masks")
    scores = query @ key.swapaxes(-1, -2) * config["scale"]
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ value`)
	status, out = run("sdpa/unmasked")
	require.Zero(t, status, "%s", out)
	status, out = run("sdpa/causal")
	require.Equal(t, exitNothing, status)
	require.Contains(t, out, "masks")
}

// The test for pytest fails with what difftest says.
func TestInitPytest(t *testing.T) {
	campaign.SkipShort(t)
	python, dir := python(t), t.TempDir()
	if exec.Command(python, "-c", "import pytest").Run() != nil {
		t.Skip("no pytest")
	}
	if _, err := exec.LookPath("difftest"); err != nil {
		t.Skip(err) // TestMain puts it there
	}
	initialized(t, "--python", dir)
	cmd := exec.Command(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", dir)
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "difftest_subject.py: fill in sdpa, or raise NotImplementedError")
	require.Contains(t, string(out), "1 failed")
}
