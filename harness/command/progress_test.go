package command

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/progress"
)

// The line appears after a while and disappears in the end. Between, it changes no faster than a
// person can read, and is no wider than the terminal.
func TestProgressLine(t *testing.T) {
	var out strings.Builder
	start := time.Now()
	l := &progressLine{out: &out, width: 20, pace: pace{next: start.Add(patience)}}
	l.show(progress.Update{Stage: "mistakes", Done: 1, Total: 9}, start)
	l.erase()
	require.Empty(t, out.String(), "it is too early")
	l.show(progress.Update{Stage: "mistakes", Done: 2, Total: 9}, start.Add(patience))
	l.show(progress.Update{Stage: "mistakes", Done: 3, Total: 9}, start.Add(patience))
	l.show(progress.Update{Stage: "pairs"}, start.Add(2*patience))
	l.show(progress.Update{Stage: "mistakes made with each other", Done: 3, Total: 9}, start.Add(3*patience))
	l.erase()
	l.erase()
	erased := "\r" + strings.Repeat(" ", 20) + "\r"
	require.Equal(t, "\rmistakes: 2 of 9\rpairs           \rmistakes made with e"+erased, out.String())
}
