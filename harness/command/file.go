package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/difftest/difftest/harness/internal/checkpoint"
)

// maxText bounds a file of text that a person or difftest writes, in bytes.
const maxText = 1 << 24

// openFolder opens a folder. Links that lead out of it are not followed. It fails on anything but a
// folder: a pipe would block for ever.
func openFolder(dir string) (*os.Root, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s: not a folder", dir)
	}
	return os.OpenRoot(dir)
}

// readText reads a regular file of at most maxText bytes.
func readText(file string) ([]byte, error) {
	f, err := checkpoint.OpenRegular(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err == nil && len(text) > maxText {
		return nil, fmt.Errorf("%s: larger than %d MiB", file, maxText>>20)
	}
	return text, err
}

// replaceFile writes a file beside the old one, waits until the disk has it, and puts it in the
// place of the old one. A run that is killed, or a full disk, leaves the old file as it was.
func replaceFile(file string, data []byte) error {
	if whole, err := filepath.EvalSymlinks(file); err == nil {
		file = whole // a link stays a link
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode().Perm()
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync())
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// writable fails unless a file can be made in a folder.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".difftest-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
