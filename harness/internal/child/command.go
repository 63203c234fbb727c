package child

import (
	"time"

	"github.com/difftest/difftest/harness/internal/subject"
)

// Command says how an implementation is started.
type Command struct {
	// Args are the program and its arguments. In Once mode "{dir}" in an argument is replaced by
	// the folder of the case. Without any "{dir}" the folder is the last argument.
	Args []string
	// Once starts a process for every case. The process ends when it has written its output.
	Once bool
	// Jobs is the number of processes that serve the cases at once, 1 if it is 0.
	Jobs int
	// Timeout bounds the start of the child, and each answer. It must be positive.
	Timeout time.Duration
	// Precision is declared for the child. A child that declares another one itself is refused.
	Precision subject.Precision
	// Env names variables of the environment that the child gets beside the usual ones.
	Env []string
	// Tool is the version of difftest, which the first message tells the child.
	Tool string
}
