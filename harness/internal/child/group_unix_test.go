//go:build unix

package child_test

import (
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/report"
)

// signalled reports whether a process can be sent a signal.
func signalled(pid int) bool { return syscall.Kill(pid, 0) == nil }

func init() {
	inPlaceOf["kills itself"] = func(*faulty, message) bool {
		must(syscall.Kill(os.Getpid(), syscall.SIGKILL))
		return true
	}
	inPlaceOf["ignores SIGTERM"] = func(*faulty, message) bool {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		time.Sleep(time.Hour)
		return true
	}
	inPlaceOf["leaves stubborn grandchildren"] = func(*faulty, message) bool {
		signal.Ignore(syscall.SIGTERM) // inherited
		spawn()
		time.Sleep(time.Hour)
		return true
	}
	inPlaceOf["leaves a process of another group"] = func(*faulty, message) bool {
		cmd := sleeper()
		cmd.Env = append(cmd.Env, pidsVariable+"="+os.Getenv(pidsVariable)+escaped)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		must(cmd.Start())
		os.Exit(1)
		return true
	}
	inPlaceOf["removes the root"] = func(_ *faulty, m message) bool {
		must(os.RemoveAll(filepath.Dir(m.Dir)))
		return ok(m)
	}
	inPlaceOf["links its output"] = func(_ *faulty, m message) bool {
		must(os.Symlink("/dev/zero", filepath.Join(m.Dir, m.Request.Output)))
		return ok(m)
	}
	inPlaceOf["links to a right output"] = func(_ *faulty, m message) bool {
		elsewhere := filepath.Join(m.Dir, "elsewhere.npy")
		write(elsewhere, harnesstest.NPY(compute(m.Dir, m.Request)))
		must(os.Symlink(elsewhere, filepath.Join(m.Dir, m.Request.Output)))
		return ok(m)
	}
	inPlaceOf["pipe for output"] = func(_ *faulty, m message) bool {
		must(syscall.Mkfifo(filepath.Join(m.Dir, m.Request.Output), 0o644))
		return ok(m)
	}
	inPlaceOf["pipe for input"] = func(c *faulty, m message) bool {
		if c.runs == 1 {
			return false
		}
		write(filepath.Join(m.Dir, m.Request.Output), nil)
		must(os.Remove(filepath.Join(m.Dir, m.Request.Inputs["key"])))
		must(syscall.Mkfifo(filepath.Join(m.Dir, m.Request.Inputs["key"]), 0o644))
		return ok(m)
	}
}

// escaped is the suffix of the file that lists the processes outside the group.
const escaped = ".escaped"

// A process that leaves its group still holds the pipes of the child. Nobody waits for it.
func TestAProcessThatLeavesItsGroup(t *testing.T) {
	w := newWorld(t, "leaves a process of another group")
	t.Cleanup(func() {
		text, err := os.ReadFile(w.pids + escaped)
		require.NoError(t, err)
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	})
	r, err := w.check(t.Context(), command(""))
	require.NoError(t, err)
	require.Equal(t, "it ended (exit status 1) instead of answering", r.Results[1].Err)
	require.Equal(t, 2, r.Count(report.Pass))
}

func TestFaultsOfUnix(t *testing.T) {
	for _, tc := range []struct {
		fault string
		want  string
	}{
		{"kills itself", "it ended (signal: killed) instead of answering"},
		{"ignores SIGTERM", "it has not answered for 2s"},
		{"leaves stubborn grandchildren", "it has not answered for 2s"},
		{"removes the root", "output.npy: the child has not written it"},
		{"links its output", "output.npy: not a regular file"},
		{"links to a right output", "output.npy: not a regular file"},
		{"pipe for output", "output.npy: not a regular file"},
		{"pipe for input", "second forward: output.npy: not a .npy file: ..."},
	} {
		t.Run(tc.fault, func(t *testing.T) {
			faulted(t, tc.fault, report.Error, tc.want)
		})
	}
}
