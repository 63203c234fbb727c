//go:build unix && !solaris && !aix

package child

import (
	"os"
	"syscall"
)

// tryLock locks a folder until it is closed, and reports whether nobody else had locked it.
func tryLock(dir *os.File) bool {
	return syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
