//go:build linux

package command

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
)

// moments is the number of random moments at which a run is killed.
func moments() int {
	if campaign.Full() {
		return 30
	}
	return 4
}

// killedAfter starts difftest and kills it after some time.
func killedAfter(t *testing.T, after time.Duration, args ...string) {
	t.Helper()
	cmd, _ := started(t, args...)
	time.Sleep(after)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// runCommand runs difftest and returns its exit status and what it printed.
func runCommand(args ...string) (int, string) {
	var out bytes.Buffer
	status := Main(args, nil, &out, &out)
	return status, out.String()
}

// An export that is killed at any moment is completed by the next, byte for byte.
func TestKilledExport(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	begin := time.Now()
	status, out := runCommand("export", whole, "--case", "mha/*")
	require.Zero(t, status, out)
	took := time.Since(begin)
	want := contentsOf(t, whole)
	draw := rand.New(rand.NewPCG(17, 1))
	for range moments() {
		dir := filepath.Join(t.TempDir(), "export")
		killedAfter(t, time.Duration(draw.Float64()*3*float64(took)), "export", dir, "--case", "mha/*")
		status, out := runCommand("export", dir, "--case", "mha/*")
		require.Zero(t, status, out)
		require.Equal(t, want, contentsOf(t, dir))
	}
}

func contentsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, file))
		files[file] = string(data)
		return err
	}))
	return files
}

// skipping is a program that skips every case, so that every entry of a list of known failures is
// kept.
const skipping = `echo '{"type":"skipped","reason":"quick"}' >"$1/reply.json"`

// knownList writes a list of known failures with reasons.
func knownList(t *testing.T, dir string) (file, text string) {
	t.Helper()
	file = filepath.Join(dir, "known")
	comment := "# " + strings.Repeat("x", 70) + "\n"
	text = "# mine\n" + strings.Repeat(comment, 50) + "causal    # not ported\nunmasked  # nor this\n"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file, text
}

// A list of known failures is the old one or the new one, whenever its update is killed.
func TestKilledUpdateOfKnownFailures(t *testing.T) {
	t.Setenv("CI", "")
	file, old := knownList(t, t.TempDir())
	// All cases pass, and so no entry stays.
	update := []string{"--known", file, "--update-known", "-q", "--fixtures", smallSuite(t)}
	begin := time.Now()
	status, out := runCommand(update...)
	took := time.Since(begin)
	require.Zero(t, status, out)
	updated, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotEqual(t, old, string(updated))
	draw := rand.New(rand.NewPCG(17, 2))
	for range moments() {
		file, _ := knownList(t, t.TempDir())
		update[1] = file
		killedAfter(t, time.Duration(draw.Float64()*3*float64(took)), update...)
		now, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Contains(t, []string{old, string(updated)}, string(now))
	}
}

// smallDisk mounts a file system of 64 KiB, and fills it but for some bytes.
func smallDisk(t *testing.T, free int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("no right to mount: ", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	require.NoError(t, os.WriteFile(filepath.Join(dir, "fill"), make([]byte, 64<<10-free), 0o600))
	return dir
}

// A full disk costs nothing that was there, and one line names the file.
func TestFullDisk(t *testing.T) {
	t.Setenv("CI", "")
	dir := smallDisk(t, 8<<10)
	file, text := knownList(t, dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "more"), make([]byte, 4<<10), 0o600))
	suite := smallSuite(t)
	status, out := runCommand(
		"--known", file, "--update-known", "-q", "--once", "--fixtures", suite, "--", "sh", "-c", skipping, "x")
	require.NotZero(t, status, out)
	require.Contains(t, out, "no space left on device")
	now, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, text, string(now))

	status, out = runCommand("export", filepath.Join(dir, "e"), "--case", "mha/*")
	require.Equal(t, exitBroken, status, out)
	require.Equal(t, 1, strings.Count(out, "no space left on device"), out)
	require.Contains(t, out, filepath.Join(dir, "e"))
	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=1m"))
	status, out = runCommand("export", filepath.Join(dir, "e"), "--case", "seed/*")
	require.Zero(t, status, out)
}

// A folder that cannot be written is named before the suite runs.
func TestReadOnlyFolder(t *testing.T) {
	t.Setenv("CI", "")
	dir := smallDisk(t, 32<<10)
	file, text := knownList(t, dir)
	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	for _, args := range [][]string{
		{"--known", file, "--update-known", "-q"}, {"export", filepath.Join(dir, "e"), "--case", "seed/*"},
	} {
		status, out := runCommand(args...)
		require.NotZero(t, status, out)
		require.Contains(t, out, "read-only file system")
		require.Contains(t, out, dir)
		require.Less(t, len(out), 500, "no case has run")
	}
	now, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, text, string(now))
}

// A program that signals the process group of difftest ends the run, with the results so far.
func TestGroupEnded(t *testing.T) {
	path, err := exec.LookPath("difftest")
	if err != nil {
		t.Skip(err)
	}
	names := []string{"TERM", "INT"}
	if !signal.Ignored(syscall.SIGHUP) { // nohup has programs ignore it
		names = append(names, "HUP")
	}
	for _, name := range names {
		temp := t.TempDir()
		child := `grep -q seed/causal "$1/request.json" || { kill -` + name + ` -$PPID; sleep 60; }; ` + skipping
		cmd := exec.Command(path, "--case", "seed/*", "--once", "--", "sh", "-c", child, "x")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Env = append(os.Environ(), "TMPDIR="+temp)
		out, err := cmd.CombinedOutput()
		var status *exec.ExitError
		require.ErrorAs(t, err, &status)
		require.Equal(t, exitInterrupted, status.ExitCode(), "%s", out)
		require.Contains(t, string(out), "interrupted after 1 of 2 cases")
		left, err := os.ReadDir(temp)
		require.NoError(t, err)
		require.Empty(t, left)
	}
}
