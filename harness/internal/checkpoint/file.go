package checkpoint

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/difftest/difftest/harness/internal/printable"
)

// Format is the kind of a file. It is found by what the file holds, whatever its name is.
type Format string

// The formats that can be read.
const (
	NPY         Format = "NumPy .npy"
	NPZ         Format = "NumPy .npz"
	Safetensors Format = "safetensors"
	PyTorch     Format = "PyTorch"
	Legacy      Format = "PyTorch, legacy" // before PyTorch 1.6
)

// File is the tensors of a file. Their values stay in the file until they are asked for. A File must
// not be used by several goroutines at once.
type File struct {
	Format  Format
	Under   string    // the key of the dict that holds the tensors, where they do not stand at the top
	Tensors []*Tensor // sorted by name
	Other   []string  // what stands beside the tensors and is none: "epoch: an integer", sorted

	closer io.Closer
}

// Open reads the list of tensors in a file of any known format, and leaves it open for their values.
// It fails on anything that is not one whole, sound file; the error begins with the path.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return opened(path, f)
}

// OpenFS is Open for a file of a file system.
func OpenFS(fsys fs.FS, name string) (*File, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	return opened(name, f)
}

func opened(name string, f fs.File) (*File, error) {
	file, err := readFile(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	file.closer = f
	return file, nil
}

func readFile(f fs.File) (*File, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if r, ok := f.(io.ReaderAt); ok {
		return New(r, info.Size())
	}
	data, err := io.ReadAll(io.LimitReader(f, info.Size()+1))
	if err != nil {
		return nil, err
	}
	return New(bytes.NewReader(data), int64(len(data)))
}

// New reads the list of tensors in a file that lies in r, size bytes long. r must stay open for
// their values.
func New(r io.ReaderAt, size int64) (*File, error) {
	head := make([]byte, min(size, 512))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	read, err := reader(head)
	if err != nil {
		return nil, err
	}
	f, err := read(r, size)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(f.Tensors, func(a, b *Tensor) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(f.Other)
	return f, f.check(size)
}

// reader finds the format by how a file begins.
func reader(head []byte) (func(io.ReaderAt, int64) (*File, error), error) {
	begins := func(with string) bool { return bytes.HasPrefix(head, []byte(with)) }
	switch {
	case begins("\x93NUMPY"):
		return readNPY, nil
	case begins("PK\x03\x04"), begins("PK\x05\x06"):
		return readZip, nil
	case len(head) > 8 && head[8] == '{': // the length before it may begin as any other format does
		return readSafetensors, nil
	case begins("\x80"):
		return readLegacy, nil
	case len(head) > 262 && string(head[257:262]) == "ustar":
		return nil, errors.New("a tar archive: PyTorch wrote them before 0.1.10, and they are not read here")
	}
	return nil, fmt.Errorf("neither .npy, .npz, .safetensors, .pt nor .pth: it begins with %q", head[:min(8, len(head))])
}

// What the tensors of a file may take together.
const (
	maxTimes = 8       // the size of the file
	maxMore  = 1 << 28 // bytes, and that much more
)

// check refuses names that no terminal shows, and bounds what all tensors take together: a view may repeat a number, and compressed zeros take
// next to nothing.
func (f *File) check(size int64) error {
	left := maxTimes*size + maxMore
	for i, t := range f.Tensors {
		if !printable.Is(t.Name) {
			return fmt.Errorf("%.200q: a name that cannot be printed", t.Name)
		}
		if i > 0 && t.Name == f.Tensors[i-1].Name {
			return fmt.Errorf("%q stands twice", t.Name)
		}
		n, err := t.size()
		if err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
		if left -= n; left < 0 {
			return fmt.Errorf("the tensors take more than %d times the file's %d bytes and 256 MiB", maxTimes, size)
		}
	}
	return nil
}

// Close closes the file that Open or OpenFS opened.
func (f *File) Close() error {
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

// Tensor finds a tensor by its name; nil where there is none.
func (f *File) Tensor(name string) *Tensor {
	i, found := slices.BinarySearchFunc(f.Tensors, name, func(t *Tensor, name string) int { return cmp.Compare(t.Name, name) })
	if !found {
		return nil
	}
	return f.Tensors[i]
}
