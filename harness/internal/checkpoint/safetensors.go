package checkpoint

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nlpodyssey/safetensors"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/npy"
)

// maxSafetensorsHeader bounds a header, in bytes. 100,000 tensors take less.
const maxSafetensorsHeader = 1 << 25

var safetensorsTypes = map[safetensors.DType]npy.DType{
	safetensors.BOOL: npy.Bool, safetensors.F16: npy.Float16, safetensors.BF16: npy.BFloat16,
	safetensors.F32: npy.Float32, safetensors.F64: npy.Float64,
	safetensors.I8: npy.Int8, safetensors.I16: npy.Int16, safetensors.I32: npy.Int32, safetensors.I64: npy.Int64,
	safetensors.U8: npy.Uint8, safetensors.U16: npy.Uint16, safetensors.U32: npy.Uint32, safetensors.U64: npy.Uint64,
}

// readSafetensors reads a .safetensors file: the length of a header, a header in JSON, and the
// data. The tensors must fill the data without a hole and without an overlap. The module
// safetensors decodes the header. It checks neither repeated keys nor lengths, so both are checked
// here first.
func readSafetensors(r io.ReaderAt, size int64) (*File, error) {
	header, err := safetensorsHeader(r, size)
	if err != nil {
		return nil, err
	}
	var m safetensors.Metadata
	if err := m.UnmarshalJSON(header); err != nil {
		return nil, fmt.Errorf("safetensors header: %w", err)
	}
	start := 8 + int64(len(header))
	spans := spansOf(m.Tensors())
	if err := checkSpans(spans, uint64(size-start)); err != nil {
		return nil, err
	}
	f := &File{Format: Safetensors}
	for _, s := range spans {
		read := func() ([]byte, error) {
			return section(r, start+int64(s.DataOffsets[0]), int64(s.DataOffsets[1]-s.DataOffsets[0]))
		}
		f.Tensors = append(f.Tensors, &Tensor{
			Name: s.name, DType: safetensorsTypes[s.DType], Shape: s.shape, read: read,
		})
	}
	return f, nil
}

// safetensorsHeader reads the header. It fails on repeated keys and on anything but one JSON value.
func safetensorsHeader(r io.ReaderAt, size int64) ([]byte, error) {
	prefix, err := section(r, 0, 8)
	if err != nil {
		return nil, err
	}
	switch claim := binary.LittleEndian.Uint64(prefix); {
	case claim > uint64(size-8):
		return nil, fmt.Errorf("safetensors header claims %d bytes, the file has %d left", claim, size-8)
	case claim > maxSafetensorsHeader:
		return nil, fmt.Errorf("safetensors header claims %d bytes, want at most %d", claim, maxSafetensorsHeader)
	}
	header, err := section(r, 8, int64(binary.LittleEndian.Uint64(prefix)))
	if err != nil {
		return nil, err
	}
	decoder := jsontext.NewDecoder(strings.NewReader(string(header)))
	if _, err := decoder.ReadValue(); err != nil { // fails also on repeated names and invalid UTF-8
		return nil, fmt.Errorf("safetensors header: %w", err)
	}
	if rest := header[decoder.InputOffset():]; strings.Trim(string(rest), " ") != "" {
		return nil, fmt.Errorf("safetensors header: %.20q stands behind the object", rest)
	}
	return header, nil
}

// span is a tensor of a header.
type span struct {
	name  string
	shape []int
	*safetensors.TensorInfo
}

// spansOf returns the tensors in the order of their data.
func spansOf(tensors map[string]*safetensors.TensorInfo) []span {
	var spans []span
	for name, info := range tensors {
		s := span{name: name, shape: make([]int, len(info.Shape)), TensorInfo: info}
		for i, d := range info.Shape {
			s.shape[i] = int(min(d, math.MaxInt))
		}
		spans = append(spans, s)
	}
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(slices.Compare(a.DataOffsets[:], b.DataOffsets[:]), cmp.Compare(a.name, b.name))
	})
	return spans
}

// checkSpans fails unless the tensors fill the data, each with as many bytes as its shape needs.
func checkSpans(spans []span, size uint64) error {
	var errs []error
	end := uint64(0)
	for _, s := range spans {
		errs = append(errs, s.check(end, size))
		end = max(end, s.DataOffsets[1])
	}
	if end < size {
		errs = append(errs, fmt.Errorf("safetensors data: %d bytes at the end belong to no tensor", size-end))
	}
	return errors.Join(errs...)
}

// check compares a tensor's place with the end of the one before it and with its own shape.
func (s span) check(end, size uint64) error {
	from, to := s.DataOffsets[0], s.DataOffsets[1]
	n, err := attention.Size(s.shape)
	if err != nil {
		return fmt.Errorf("%q: %w", s.name, err)
	}
	switch {
	case from > to || to > size:
		return fmt.Errorf("%q: data_offsets [%d, %d] in %d bytes of data", s.name, from, to, size)
	case from > end:
		return fmt.Errorf("%q: data_offsets [%d, %d] leave a hole: the tensor before ends at %d", s.name, from, to, end)
	case from < end:
		return fmt.Errorf("%q: data_offsets [%d, %d] overlap the tensor before, which ends at %d",
			s.name, from, to, end)
	case (to-from)%s.DType.Size() != 0 || (to-from)/s.DType.Size() != uint64(n):
		return fmt.Errorf("%q: %d bytes of data, %s of shape %s needs %d elements of %d bytes",
			s.name, to-from, s.DType, attention.FormatShape(s.shape), n, s.DType.Size())
	}
	return nil
}
