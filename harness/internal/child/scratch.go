package child

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// scratch is a folder for the folders of the cases. A lock on it, which the system drops when this
// process ends, tells other runs that it is in use.
type scratch struct {
	mu   sync.Mutex // of dir and lock, while children run
	dir  string
	lock *os.File
}

// scratches matches the names of all scratch folders.
const scratches = "difftest-run-*"

// newScratch makes a scratch folder, and removes the ones that killed runs have left.
func newScratch() (*scratch, error) {
	removeLeft(os.TempDir())
	dir, err := os.MkdirTemp("", scratches)
	if err != nil {
		return nil, err
	}
	lock, err := os.Open(dir)
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	_ = tryLock(lock) // without locks the folder stays if this run is killed
	return &scratch{dir: dir, lock: lock}, nil
}

// folder returns the folder, and makes it anew if something has removed it.
func (s *scratch) folder() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := os.Stat(s.dir); !errors.Is(err, fs.ErrNotExist) {
		return s.dir, err
	}
	if err := os.MkdirAll(os.TempDir(), 0o700); err != nil {
		return "", err
	}
	made, err := newScratch()
	if err != nil {
		return "", err
	}
	_ = s.lock.Close()
	s.dir, s.lock = made.dir, made.lock
	return s.dir, nil
}

// remove deletes the folder.
func (s *scratch) remove() error {
	_ = s.lock.Close()
	return removeAll(s.dir)
}

// removeLeft removes scratch folders that nobody has locked. A young folder may be about to be
// locked.
func removeLeft(temp string) {
	const young = time.Minute
	found, _ := fs.Glob(os.DirFS(temp), scratches) // the pattern is well formed
	for _, name := range found {
		dir := filepath.Join(temp, name)
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < young {
			continue
		}
		lock, err := os.Open(dir)
		if err != nil {
			continue // of another user
		}
		if tryLock(lock) {
			_ = removeAll(dir)
		}
		_ = lock.Close()
	}
}
