package checkpoint

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
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

	// Shards names the files of a checkpoint in several files, in the folder of their index. It is
	// empty if one file holds every tensor.
	Shards []string

	closers []io.Closer
}

// Open reads the list of tensors in a file of any known format, of all files that an index of
// shards names, or of the one index in a folder. The files stay open for their values. Open fails
// on a file that is damaged, incomplete or followed by other bytes. The error begins with the path.
func Open(path string) (*File, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if path, err = indexIn(path); err != nil {
			return nil, err
		}
	}
	f, err := OpenRegular(path)
	if err != nil {
		return nil, err
	}
	return opened(path, f, func(shard string) (fs.File, error) {
		return OpenRegular(filepath.Join(filepath.Dir(path), filepath.FromSlash(shard)))
	})
}

// OpenRegular opens a regular file, and fails on any other. A pipe would block for ever, and a
// device has no end.
func OpenRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", path, errIrregular)
	}
	return os.Open(path)
}

var errIrregular = errors.New("not a regular file: only regular files are read")

// OpenFS is Open for a file of a file system.
func OpenFS(fsys fs.FS, name string) (*File, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	return opened(name, f, func(shard string) (fs.File, error) { return fsys.Open(path.Join(path.Dir(name), shard)) })
}

// opened reads an open file. shard opens another file in its folder, which only an index needs.
func opened(name string, f fs.File, shard func(string) (fs.File, error)) (*File, error) {
	r, size, err := readerOf(f)
	var file *File
	if err == nil {
		file, err = newFile(r, size, shard)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	file.closers = append(file.closers, f)
	return file, nil
}

// readerOf returns a reader of a regular file, and its size.
func readerOf(f fs.File) (io.ReaderAt, int64, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errIrregular
	}
	if r, ok := f.(io.ReaderAt); ok {
		return r, info.Size(), nil
	}
	data, err := io.ReadAll(io.LimitReader(f, info.Size()+1))
	return bytes.NewReader(data), int64(len(data)), err
}

// New reads the list of tensors in a file of size bytes. r must stay open for their values. An
// index of shards is refused, because New cannot open them.
func New(r io.ReaderAt, size int64) (*File, error) { return newFile(r, size, nil) }

// newFile is New. shard opens another file of the same folder; it is nil if none may be opened.
func newFile(r io.ReaderAt, size int64, shard func(string) (fs.File, error)) (*File, error) {
	head := make([]byte, min(size, 512))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if isJSON(head) {
		return readIndex(r, size, shard)
	}
	read, err := reader(head)
	if err != nil {
		return nil, err
	}
	f, err := read(r, size)
	if err != nil {
		return nil, err
	}
	f.sort()
	return f, f.check(size)
}

func (f *File) sort() {
	slices.SortFunc(f.Tensors, func(a, b *Tensor) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(f.Other)
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
	}
	if what := mistaken(head); what != "" {
		return nil, errors.New(what)
	}
	return nil, fmt.Errorf("neither .npy, .npz, .safetensors, .pt nor .pth: it begins with %.200q",
		head[:min(8, len(head))])
}

// All tensors of a file together may take maxTimes the size of the file and maxMore bytes. So may
// the memory of one tensor.
const (
	maxTimes = 8
	maxMore  = 1 << 28
)

func mostBytes(fileSize int64) int64 { return maxTimes*fileSize + maxMore }

// check refuses repeated names and names that a terminal cannot show. It bounds the bytes of all
// tensors together, because a view may repeat one number and compressed zeros take hardly any
// space.
func (f *File) check(size int64) error {
	left := mostBytes(size)
	for i, t := range f.Tensors {
		if !printable.Is(t.Name) {
			return fmt.Errorf("%.200q: a name that cannot be printed", t.Name)
		}
		if i > 0 && t.Name == f.Tensors[i-1].Name {
			return fmt.Errorf("%.200q stands twice", t.Name)
		}
		t.most = mostBytes(size)
		n, err := t.bytes()
		if err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
		if left -= n; left < 0 {
			return fmt.Errorf("the tensors take more than %d times the file's %d bytes and 256 MiB", maxTimes, size)
		}
	}
	return nil
}

// Close closes the files that Open or OpenFS opened.
func (f *File) Close() error {
	var errs []error
	for _, c := range f.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
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
