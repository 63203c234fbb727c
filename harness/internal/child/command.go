package child

import (
	"time"

	"github.com/difftest/difftest/harness/internal/subject"
)

// Command says how an implementation is started.
type Command struct {
	// Args are the program and its arguments. In Once mode "{dir}" in them stands for the folder of the case; without
	// it the folder is one more argument.
	Args []string
	// Once starts a process for every case, which ends when it has written its output.
	Once bool
	// Jobs is how many processes serve the cases; 0 is one.
	Jobs int
	// Timeout is how long the child may take to start, and for each answer. It must be positive.
	Timeout time.Duration
	// Precision is declared for the child. One that declares another itself is refused.
	Precision subject.Precision
	// Tool is the version of the harness, which the child is told.
	Tool string
}
