package child

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/protocol"
)

// What a child may add to the folder of a case: far more than any output of a case needs.
const (
	quotaBytes = 64 << 20
	quotaFiles = 1000
)

// folder holds the files of one case. The child may write its output into it, and nothing else counts.
type folder struct {
	dir     string
	c       *fixture.Case
	request protocol.Request
	given   map[string][]byte // its files as they were written
	size    int64             // of them
}

// newFolder writes the files of a case into a new folder below root.
func newFolder(root string, c *fixture.Case) (*folder, error) {
	dir, err := os.MkdirTemp(root, "case-")
	if err != nil {
		return nil, err
	}
	f := &folder{dir: dir, c: c, given: map[string][]byte{}}
	if f.request, err = protocol.Write(dir, c); err == nil {
		err = f.remember()
	}
	if err != nil {
		return nil, errors.Join(err, f.remove())
	}
	return f, nil
}

// remember reads what was written, to know it again.
func (f *folder) remember() error {
	return filepath.WalkDir(f.dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(file)
		f.given[file] = data
		f.size += int64(len(data))
		return err
	})
}

// withinQuota fails when the child has filled the folder with more than it may. A file that goes while it looks
// is no matter.
func (f *folder) withinQuota() error {
	bytes, files := -f.size, -len(f.given)
	err := filepath.WalkDir(f.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && !d.IsDir() {
			bytes += info.Size()
		}
		if files++; files > 2*quotaFiles || bytes > quotaBytes {
			return fs.SkipAll
		}
		return nil
	})
	if err == nil && (bytes > quotaBytes || files > quotaFiles) {
		return faultf("it fills its folder: more than %d MiB or %d files", quotaBytes>>20, quotaFiles)
	}
	return err
}

// outputs takes the output out of the folder, and the attention weights of a case that has them.
func (f *folder) outputs() (attention.Outputs, error) {
	var out attention.Outputs
	if err := f.withinQuota(); err != nil {
		return out, err
	}
	var err, weightsErr error
	out.Output, err = f.take(f.request.Output)
	if f.request.Weights != nil {
		out.Weights, weightsErr = f.take(*f.request.Weights)
	}
	return out, errors.Join(err, weightsErr)
}

// take reads a file that the child has written, and removes it, so that the next one is new.
func (f *folder) take(name string) (*attention.Tensor, error) {
	t, err := f.tensor(filepath.Join(f.dir, name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, os.Remove(filepath.Join(f.dir, name))
}

func (f *folder) tensor(file string) (*attention.Tensor, error) {
	data, err := readRegular(file)
	if err != nil {
		return nil, err
	}
	a, err := npy.Parse(data)
	if err != nil {
		return nil, err
	}
	want := f.c.Precision
	if want == fixture.BFloat16 {
		if a, err = a.BFloat16(); err != nil {
			return nil, err
		}
	}
	return a.Tensor(want)
}

// readRegular reads a file that the child has written, not what it has linked, a pipe or a device.
func readRegular(file string) ([]byte, error) {
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("the child has not written it")
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, quotaBytes+1))
	if err == nil && len(data) > quotaBytes {
		err = fmt.Errorf("larger than %d bytes", quotaBytes)
	}
	return data, err
}

// changes names the given files that are no longer as they were.
func (f *folder) changes() []string {
	var findings []string
	for _, file := range slices.Sorted(maps.Keys(f.given)) {
		info, err := os.Lstat(file)
		same := err == nil && info.Mode().IsRegular() && info.Size() == int64(len(f.given[file]))
		if same {
			data, err := os.ReadFile(file)
			same = err == nil && bytes.Equal(data, f.given[file])
		}
		if !same {
			name, _ := filepath.Rel(f.dir, file)
			findings = append(findings, "the subject changes its file "+filepath.ToSlash(name))
		}
	}
	return findings
}

// remove leaves nothing of the folder, whatever the child has made of it.
func (f *folder) remove() error { return removeAll(f.dir) }

// removeAll also goes into folders that may not be read or written.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && d.Type()&fs.ModeSymlink == 0 {
			_ = os.Chmod(file, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
