package checkpoint

import (
	"fmt"
	"io"
	"math"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/npy"
)

// Tensor is one named tensor of a file. Its values can be read if its type is one of [npy.DType].
// Complex numbers and some types of 8 bits and less are only listed.
type Tensor struct {
	Name  string // empty for the one array of a .npy file
	DType npy.DType
	Shape []int

	place place
	most  int64 // bytes that the values may take in memory
	print fingerprint
}

// failed puts the name of the tensor before an error.
func (t *Tensor) failed(err error) error {
	if t.Name == "" {
		return err
	}
	return fmt.Errorf("%.200s: %w", t.Name, err)
}

// Readable reports whether the values can be read.
func (t *Tensor) Readable() bool { return readable(t.DType) }

// bytes returns the number of bytes of the values.
func (t *Tensor) bytes() (int64, error) {
	n, err := attention.Size(t.Shape)
	if err != nil {
		return 0, err
	}
	bits := int64(bitsOf(t.DType))
	if int64(n) > (math.MaxInt64-7)/bits {
		return 0, fmt.Errorf("shape %s has more bytes than an int64 can count", attention.FormatShape(t.Shape))
	}
	return (int64(n)*bits + 7) / 8, nil
}

// inOrder returns the tensor whose dimensions are some of this one's in another order.
func (t *Tensor) inOrder(order []int) *Tensor {
	turned := *t
	turned.place.view = t.place.view.reordered(order)
	turned.Shape = turned.place.view.shape
	return &turned
}

// each calls a function with every block of values.
func (t *Tensor) each(do func(s *Stream, block []byte) error) error {
	s, err := t.Stream()
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		block, err := s.Next()
		if err == nil {
			err = do(s, block)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Bytes reads the values in row-major order, little endian, whatever the order of the file is.
func (t *Tensor) Bytes() ([]byte, error) {
	n, err := t.bytes()
	if err != nil {
		return nil, t.failed(err)
	}
	all := make([]byte, 0, n)
	return all, t.each(func(_ *Stream, block []byte) error {
		all = append(all, block...)
		return nil
	})
}

// Float64s reads the values as float64. All are exact, except integers beyond 2^53. true is 1. It
// fails on a view that repeats few numbers too often.
func (t *Tensor) Float64s() ([]float64, error) {
	n, err := attention.Size(t.Shape)
	if err != nil {
		return nil, t.failed(err)
	}
	if int64(n) > t.most/8 {
		return nil, t.failed(fmt.Errorf("%d elements as float64 take more than %d times the file and 256 MiB", n, maxTimes))
	}
	all := make([]float64, 0, n)
	err = t.each(func(s *Stream, block []byte) error {
		all = append(all, s.Decode(block)...)
		return nil
	})
	return all, err
}

// Float32s reads the values as float32. Values of float64 are rounded, all others are exact. It
// fails on integers and booleans, which are not parameters, and on values too large for float32.
func (t *Tensor) Float32s() (*attention.Tensor, error) {
	if t.Readable() && !t.DType.IsFloat() {
		return nil, t.failed(fmt.Errorf("dtype %s, want a floating-point type", t.DType))
	}
	n, err := attention.Size(t.Shape)
	if err != nil {
		return nil, t.failed(err)
	}
	if int64(n) > t.most/4 {
		return nil, t.failed(fmt.Errorf("%d elements as float32 take more than %d times the file and 256 MiB", n, maxTimes))
	}
	out := &attention.Tensor{Shape: t.Shape, Data: make([]float32, 0, n)}
	err = t.each(func(s *Stream, block []byte) error {
		for _, v := range s.Decode(block) {
			narrow := float32(v)
			if math.IsInf(float64(narrow), 0) && !math.IsInf(v, 0) {
				return t.failed(fmt.Errorf("element %d is %g, too large for float32", len(out.Data), v))
			}
			out.Data = append(out.Data, narrow)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
