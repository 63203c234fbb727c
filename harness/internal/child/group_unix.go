//go:build unix

package child

import (
	"os"
	"os/exec"
	"syscall"
)

// group is a process group: the child and all processes that it has started.
type group struct{ id int }

// apart makes a command start a group of its own.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

func groupOf(p *os.Process) (group, error) { return group{p.Pid}, nil }

// ask sends SIGTERM to every process, kill SIGKILL. The group may be gone already.
func (g group) ask()  { _ = syscall.Kill(-g.id, syscall.SIGTERM) }
func (g group) kill() { _ = syscall.Kill(-g.id, syscall.SIGKILL) }

// alive reports whether any process is left.
func (g group) alive() bool { return syscall.Kill(-g.id, 0) == nil }

// close does nothing: a process group holds no resources.
func (g group) close() {}
