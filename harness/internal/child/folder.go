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
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/printable"
	"github.com/difftest/difftest/harness/internal/protocol"
)

// The quota of a child in the folder of a case, far above the needs of any case.
const (
	quotaBytes = 64 << 20
	quotaFiles = 1000
)

// folder holds the files of one case. The child writes its output there.
type folder struct {
	dir     string
	c       *fixture.Case
	request protocol.Request
	given   map[string][]byte // the contents of the request's files, by path
	size    int64             // bytes of all given files
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

// remember records the files of the request, so that changes to them are found later.
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

// withinQuota fails if the child has added more to the folder than its quota. Files may disappear
// while it looks.
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
		return faultf("it wrote more than %d MiB or %d files into its folder", quotaBytes>>20, quotaFiles)
	}
	return err
}

// outputs takes the output out of the folder, and the attention weights if the case has some.
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

// trace reads the outputs of modules inside a model that the child has written, by the paths of the
// modules. It returns nil if there are none.
func (f *folder) trace() (map[string]*npy.Array, error) {
	dir := filepath.Join(f.dir, protocol.TraceDir)
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	inside := map[string]*npy.Array{}
	for _, file := range files {
		name, isArray := strings.CutSuffix(file.Name(), ".npy")
		if !isArray {
			continue
		}
		data, err := readRegular(filepath.Join(dir, file.Name()))
		if err == nil {
			inside[name], err = npy.Parse(data)
		}
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", protocol.TraceDir, printable.Line(file.Name()), err)
		}
	}
	return inside, nil
}

// take reads a file that the child has written and removes it, so that it cannot be taken twice.
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

var errNotWritten = errors.New("the child has not written it")

// readRegular reads a file that the child has written. It refuses links, pipes and devices.
func readRegular(file string) ([]byte, error) {
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errNotWritten
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

// changes reports each given file that the child has changed or removed.
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

// remove deletes the folder, whatever the child has done to it.
func (f *folder) remove() error { return removeAll(f.dir) }

// removeAll also deletes folders without permission to read or write them.
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
