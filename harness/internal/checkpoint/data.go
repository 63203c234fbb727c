package checkpoint

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// data holds bytes of a file: the elements of a tensor or of a storage.
type data interface {
	size() int64
	// reader reads all bytes once, from the first to the last. The end fails on damaged bytes.
	reader() (io.ReadCloser, error)
	// readerAt reads bytes anywhere. It fails on damaged bytes before it returns.
	readerAt() (io.ReaderAt, error)
}

// stretch holds n bytes of a file as they are, from an offset on.
type stretch struct {
	file      io.ReaderAt
	offset, n int64
}

func (s stretch) size() int64 { return s.n }

func (s stretch) reader() (io.ReadCloser, error) { return io.NopCloser(s.section()), nil }

func (s stretch) readerAt() (io.ReaderAt, error) { return s.section(), nil }

func (s stretch) section() *io.SectionReader { return io.NewSectionReader(s.file, s.offset, s.n) }

// member holds the bytes of a member of a zip archive.
type member struct {
	*zip.File
	archive io.ReaderAt
	intact  bool      // the sum is known to be right
	last    *lastRead // of the archive
}

// lastRead keeps the bytes of the compressed member that was read last, because many tensors may
// share one. PyTorch and NumPy compress no member that is shared.
type lastRead struct {
	owner *member
	data  []byte
}

func (m *member) size() int64 { return int64(m.UncompressedSize64) }

func (m *member) reader() (io.ReadCloser, error) { return m.Open() }

func (m *member) readerAt() (io.ReaderAt, error) {
	if m.Method != zip.Store {
		data, err := m.all()
		return bytes.NewReader(data), err
	}
	offset, err := m.DataOffset()
	if err == nil && !m.intact {
		err = m.check()
	}
	return stretch{m.archive, offset, m.size()}.section(), err
}

// check compares the sum of a member.
func (m *member) check() error {
	r, err := m.reader()
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("member %.200q: %w", m.Name, err)
	}
	m.intact = true
	return nil
}

// all reads a whole member, unless it was the last one that was read.
func (m *member) all() ([]byte, error) {
	if m.last.owner == m {
		return m.last.data, nil
	}
	data, err := readMember(m.File)
	if err == nil {
		m.last.owner, m.last.data = m, data
	}
	return data, err
}

// section reads n bytes of a file at an offset.
func section(r io.ReaderAt, offset, n int64) ([]byte, error) {
	data := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(r, offset, n), data); err != nil {
		return nil, fmt.Errorf("%d bytes at %d: %w", n, offset, err)
	}
	return data, nil
}

// atEnd fails unless a reader has no more bytes. The end of a member also compares its sum.
func atEnd(r io.Reader) error {
	switch n, err := io.ReadFull(r, make([]byte, 1)); {
	case n > 0:
		return errors.New("more bytes than it claims")
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}
