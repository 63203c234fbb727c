//go:build !unix && !windows

package child

import (
	"errors"
	"os"
	"os/exec"
)

// group is a child. A browser starts no processes, so there is never one.
type group struct{}

// apart does nothing.
func apart(*exec.Cmd) {}

func groupOf(*os.Process) (group, error) { return group{}, errors.ErrUnsupported }

// ask and kill end nothing.
func (g group) ask()  {}
func (g group) kill() {}

// alive reports that no process runs.
func (g group) alive() bool { return false }

// close does nothing.
func (g group) close() {}
