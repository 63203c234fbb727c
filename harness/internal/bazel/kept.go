package bazel

import "sync"

// Kept holds what all tests of a process found: Bazel reads one file of them. Several goroutines
// may use it.
type Kept[T any] struct {
	mu  sync.Mutex
	all []T
}

// Add keeps more, and has write write everything that is kept.
func (k *Kept[T]) Add(more []T, write func(all []T) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, more...)
	return write(k.all)
}
