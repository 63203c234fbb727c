//go:build unix

package child

import (
	"os"
	"os/exec"
	"syscall"
)

// group is a process group: the child and what it has started.
type group struct{ id int }

// apart makes a command start a group of its own.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

func groupOf(p *os.Process) (group, error) { return group{p.Pid}, nil }

// ask wants every process to end, kill makes them. A group that is gone is no error.
func (g group) ask()  { _ = syscall.Kill(-g.id, syscall.SIGTERM) }
func (g group) kill() { _ = syscall.Kill(-g.id, syscall.SIGKILL) }

// alive says whether some process is left.
func (g group) alive() bool { return syscall.Kill(-g.id, 0) == nil }

// close releases what the group itself holds.
func (g group) close() {}
