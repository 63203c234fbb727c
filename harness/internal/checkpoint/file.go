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

// Format is the kind of a file. The content of a file tells it, not its name.
type Format string

// The formats that can be read.
const (
	NPY         Format = "NumPy .npy"
	NPZ         Format = "NumPy .npz"
	Safetensors Format = "safetensors"
	PyTorch     Format = "PyTorch"
	Legacy      Format = "PyTorch, legacy" // before PyTorch 1.6
)

// File lists the tensors of a file. Their values are read when they are asked for. A File must not
// be used by several goroutines at once.
type File struct {
	Format  Format
	Tensors []*Tensor // sorted by name

	// Under is the key of the dict that holds the tensors, empty if the top dict does.
	Under string
	// Other names the entries that are not tensors, sorted: "epoch: an integer".
	Other []string

	closer io.Closer
}

// Open reads the list of tensors in a file of any known format. The file stays open for their
// values. Open fails on a file that is damaged, incomplete or followed by other bytes. The error
// begins with the path.
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

// New reads the list of tensors in a file of size bytes. r must stay open for their values.
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

// reader finds the format by the first bytes of a file.
func reader(head []byte) (func(io.ReaderAt, int64) (*File, error), error) {
	begins := func(with string) bool { return bytes.HasPrefix(head, []byte(with)) }
	switch {
	case begins("\x93NUMPY"):
		return readNPY, nil
	case begins("PK\x03\x04"), begins("PK\x05\x06"):
		return readZip, nil
	case len(head) > 8 && head[8] == '{': // after a length, which may look like a pickle
		return readSafetensors, nil
	case begins("\x80"):
		return readLegacy, nil
	case len(head) > 262 && string(head[257:262]) == "ustar":
		return nil, errors.New("a tar archive: PyTorch wrote them before 0.1.10, and they are not read here")
	}
	return nil, fmt.Errorf("neither .npy, .npz, .safetensors, .pt nor .pth: it begins with %q",
		head[:min(8, len(head))])
}

// All tensors of a file together may take maxTimes the size of the file and maxMore bytes.
const (
	maxTimes = 8
	maxMore  = 1 << 28
)

// check refuses repeated names and names that a terminal cannot show. It bounds the bytes of all
// tensors together, because a view may repeat one number and compressed zeros take hardly any
// space.
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

// Tensor finds a tensor by its name. It returns nil if there is none.
func (f *File) Tensor(name string) *Tensor {
	byName := func(t *Tensor, name string) int { return cmp.Compare(t.Name, name) }
	i, found := slices.BinarySearchFunc(f.Tensors, name, byName)
	if !found {
		return nil
	}
	return f.Tensors[i]
}
