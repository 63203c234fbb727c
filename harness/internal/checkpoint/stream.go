package checkpoint

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/npy"
)

// blockElements is the number of elements in a block of a [Stream]: half a megabyte as float64.
const blockElements = 1 << 16

// Stream reads the values of a tensor in row-major order, a block at a time. It takes little
// memory, whatever the size of the tensor.
type Stream struct {
	tensor *Tensor
	reader io.ReadCloser
	whole  bool // the end of the reader is the end of the values
	next   int  // the first element of the next block
	left   int
	block  []byte
	values []float64
}

// Stream begins to read the values.
func (t *Tensor) Stream() (*Stream, error) {
	if !t.Readable() {
		return nil, t.failed(fmt.Errorf("the values of dtype %s cannot be read", t.DType))
	}
	n, err := attention.Size(t.Shape)
	if err != nil {
		return nil, t.failed(err)
	}
	s := &Stream{tensor: t, left: n}
	if s.reader, s.whole, err = t.place.open(t.DType.Size()); err != nil {
		return nil, t.failed(err)
	}
	return s, nil
}

// Next returns the next block of at most 65,536 elements, each little endian. All blocks but the
// last have as many. The block is valid until the next call. Next returns [io.EOF] after the last
// block. It fails on a bool that is neither 0 nor 1.
func (s *Stream) Next() ([]byte, error) {
	n := min(s.left, blockElements)
	block, err := s.read(n)
	switch {
	case err == io.EOF:
		return nil, io.EOF
	case err != nil:
		return nil, s.tensor.failed(err)
	}
	s.next, s.left = s.next+n, s.left-n
	return block, nil
}

func (s *Stream) read(n int) ([]byte, error) {
	if n == 0 {
		if s.whole {
			if err := atEnd(s.reader); err != nil {
				return nil, err
			}
		}
		return nil, io.EOF
	}
	size := s.tensor.DType.Size()
	if s.block == nil {
		s.block = make([]byte, n*size)
	}
	block := s.block[:n*size]
	if _, err := io.ReadFull(s.reader, block); err != nil {
		return nil, fmt.Errorf("elements from %d on: %w", s.next, cutOff(err))
	}
	if s.tensor.DType == npy.Bool {
		if i := slices.IndexFunc(block, func(b byte) bool { return b > 1 }); i >= 0 {
			return nil, fmt.Errorf("element %d of a bool tensor is %d, want 0 or 1", s.next+i, block[i])
		}
	}
	s.tensor.place.correct(s.tensor.DType, block)
	return block, nil
}

// cutOff returns the error for values that end too early.
func cutOff(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// NextFloat64s returns the values of the next block, as [Stream.Next] returns their bytes. All are
// exact, except integers beyond 2^53. true is 1.
func (s *Stream) NextFloat64s() ([]float64, error) {
	block, err := s.Next()
	if err != nil {
		return nil, err
	}
	return s.Decode(block), nil
}

// Decode returns the values of a block. They are valid until the next call.
func (s *Stream) Decode(block []byte) []float64 {
	n := len(block) / s.tensor.DType.Size()
	if s.values == nil {
		s.values = make([]float64, n)
	}
	decode(s.tensor.DType, block, s.values[:n])
	return s.values[:n]
}

// Close ends the reading.
func (s *Stream) Close() error { return s.reader.Close() }

// place says where the elements of a tensor lie, and how they are stored.
type place struct {
	data      data
	start     int64 // bytes of data before the storage: the header of a .npy file
	view      view
	bigEndian bool
	negative  bool // the negative numbers are stored
}

// open returns a reader of the elements in row-major order, as they are stored. whole reports
// whether they are all bytes of their data.
func (p place) open(size int) (r io.ReadCloser, whole bool, err error) {
	n, err := attention.Size(p.view.shape)
	if err != nil || n == 0 {
		return io.NopCloser(bytes.NewReader(nil)), false, err
	}
	at, length := p.start+int64(p.view.offset)*int64(size), int64(n)*int64(size)
	contiguous := p.view.contiguous()
	if contiguous && p.view.offset == 0 && at+length == p.data.size() {
		if r, err = p.data.reader(); err != nil {
			return nil, true, err
		}
		_, err = io.CopyN(io.Discard, r, p.start)
		return r, true, err
	}
	random, err := p.data.readerAt()
	if err != nil {
		return nil, false, err
	}
	if contiguous {
		return io.NopCloser(io.NewSectionReader(random, at, length)), false, nil
	}
	storage := io.NewSectionReader(random, p.start, p.data.size()-p.start)
	return io.NopCloser(newGatherer(storage, p.view, size)), false, nil
}

// correct makes stored elements little endian, and changes the sign of negative ones.
func (p place) correct(dtype npy.DType, elements []byte) {
	if p.bigEndian {
		swap(elements, dtype.Size())
	}
	if p.negative {
		negate(dtype, elements)
	}
}
