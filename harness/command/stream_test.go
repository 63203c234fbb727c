package command

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// slowChild answers that it offers nothing, after half a second a case.
const slowChild = `sleep 0.5; echo '{"type":"skipped","reason":"slow"}' >"$0/reply.json"`

// started runs the command in a process of its own.
func started(t *testing.T, args ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	path, err := exec.LookPath("difftest") // TestMain put it there
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(path, args...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, bufio.NewScanner(out)
}

// In a pipe, too, the first line comes at once, and each case has its line as soon as it is judged.
func TestResultsComeAsTheyAreJudged(t *testing.T) {
	begun := time.Now()
	_, lines := started(t, "--case", "seed/*", "--once", "--", "sh", "-c", slowChild)
	head := ""
	for lines.Scan() && lines.Text() != "" {
		head += lines.Text() + " "
	}
	require.Contains(t, head, "against PyTorch 2.15.0, 2 cases")
	require.Less(t, time.Since(begun), 450*time.Millisecond, "before the first case")
	require.True(t, lines.Scan())
	first := time.Now()
	require.Contains(t, lines.Text(), "seed/causal")
	require.True(t, lines.Scan())
	require.Contains(t, lines.Text(), "seed/unmasked")
	require.Greater(t, time.Since(first), 300*time.Millisecond, "the first case does not wait for the second")
}

// stuckChild skips seed/causal. On any other case it writes a file and gives no answer.
const stuckChild = `grep -q seed/causal "$1/request.json" || { : >"$0"; sleep 60; }
echo '{"type":"skipped","reason":"quick"}' >"$1/reply.json"`

// An interrupted run reports its results so far, as text and as JSON, with a status of its own.
func TestInterrupted(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		second := filepath.Join(t.TempDir(), "second")
		args := []string{"--case", "seed/*", "--once"}
		if asJSON {
			args = append(args, "--json")
		}
		cmd, lines := started(t, append(args, "--", "sh", "-c", stuckChild, second)...)
		isThere := func() bool { _, err := os.Stat(second); return err == nil }
		require.Eventually(t, isThere, 20*time.Second, 10*time.Millisecond)
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		var out bytes.Buffer
		for lines.Scan() {
			out.WriteString(lines.Text() + "\n")
		}
		var status *exec.ExitError
		require.ErrorAs(t, cmd.Wait(), &status)
		require.Equal(t, exitInterrupted, status.ExitCode(), "%s", &out)
		if !asJSON {
			require.Contains(t, out.String(), "interrupted after 1 of 2 cases\n")
			continue
		}
		var r struct {
			Interrupted bool
			Selected    int
			Results     []struct{ Case string }
		}
		require.NoError(t, json.Unmarshal(out.Bytes(), &r))
		require.True(t, r.Interrupted)
		require.Equal(t, 2, r.Selected)
		require.Len(t, r.Results, 1)
	}
}

// The second signal ends a run whose program does not end.
func TestSecondInterruptEndsAtOnce(t *testing.T) {
	cmd, lines := started(t, "lint")
	time.Sleep(300 * time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	begun := time.Now()
	for lines.Scan() {
	}
	var status *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &status)
	require.Less(t, time.Since(begun), time.Second, "lint obeys")
	require.Equal(t, exitInterrupted, status.ExitCode())
}

// The causes are the last that people see, whatever fails.
func TestCausesAreLast(t *testing.T) {
	var out, errs bytes.Buffer
	require.Equal(t, exitFailed, Main([]string{"--case", "seed", "--", "false"}, nil, &out, &errs))
	_, last, found := strings.Cut(out.String(), "\nCauses\n")
	require.True(t, found)
	require.Regexp(t, `^  -  without an output: layouts/seed-parallel, seed/causal,\s+seed/unmasked\n\n`+
		`0 passed, 3 failed in .*\n$`, last)
}
