package child

import (
	"bytes"
	"sync"

	"github.com/difftest/difftest/harness/internal/printable"
)

// tailBytes bounds the part of stderr that a tail keeps.
const tailBytes = 16 << 10

// tail keeps the last 16 KiB that are written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p[max(0, len(p)-tailBytes):]...)
	if extra := len(t.data) - tailBytes; extra > 0 {
		t.data = append(t.data[:0], t.data[extra:]...)
	}
	return len(p), nil
}

// clear drops everything that was written for an earlier case.
func (t *tail) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = t.data[:0]
}

// lines returns the last lines, ready to be printed.
func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return printable.Lines(string(bytes.TrimSpace(t.data)))
}
