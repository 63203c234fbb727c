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

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/jsonread"
	"github.com/difftest/difftest/harness/internal/npy"
)

// maxSafetensorsHeader bounds a header, in bytes. 100,000 tensors take less.
const maxSafetensorsHeader = 1 << 25

var safetensorsTypes = map[string]npy.DType{
	"BOOL": npy.Bool, "F16": npy.Float16, "BF16": npy.BFloat16, "F32": npy.Float32, "F64": npy.Float64,
	"I8": npy.Int8, "I16": npy.Int16, "I32": npy.Int32, "I64": npy.Int64,
	"U8": npy.Uint8, "U16": npy.Uint16, "U32": npy.Uint32, "U64": npy.Uint64,
	"F8_E4M3": npy.Float8E4M3FN, "F8_E5M2": npy.Float8E5M2,

	"C64": complex64, "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
	"F4": "float4_e2m1fn", "F6_E2M3": "float6_e2m3fn", "F6_E3M2": "float6_e3m2fn",
}

// readSafetensors reads a .safetensors file: the length of a header, a header in JSON, and the
// data. The tensors must fill the data without a hole and without an overlap.
func readSafetensors(r io.ReaderAt, size int64) (*File, error) {
	header, err := safetensorsHeader(r, size)
	if err != nil {
		return nil, err
	}
	start := 8 + int64(len(header))
	spans, err := spansOf(header)
	if err != nil {
		return nil, fmt.Errorf("safetensors header: %w", err)
	}
	if err := checkSpans(spans, uint64(size-start)); err != nil {
		return nil, err
	}
	f := &File{Format: Safetensors}
	for _, s := range spans {
		bytes := stretch{r, start + int64(s.from), int64(s.to - s.from)}
		f.Tensors = append(f.Tensors, &Tensor{
			Name: s.name, DType: s.dtype, Shape: s.shape, place: place{data: bytes, view: rows(s.shape)},
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

// span is a tensor of a header. Its data are the bytes from one offset to another.
type span struct {
	name     string
	dtype    npy.DType
	shape    []int
	from, to uint64
}

// spansOf returns the tensors of a header in the order of their data. Its metadata must be texts,
// and are dropped.
func spansOf(header []byte) ([]span, error) {
	var entries map[string]jsontext.Value
	if err := jsonread.Lenient("", header, &entries); err != nil {
		return nil, err
	}
	var spans []span
	for name, entry := range entries {
		var metadata map[string]string
		if name == "__metadata__" {
			if err := jsonread.Lenient(name, entry, &metadata); err != nil {
				return nil, err
			}
			continue
		}
		s, err := spanOf(name, entry)
		if err != nil {
			return nil, fmt.Errorf("%.200q: %w", name, err)
		}
		spans = append(spans, s)
	}
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), cmp.Compare(a.name, b.name))
	})
	return spans, nil
}

func spanOf(name string, entry jsontext.Value) (span, error) {
	var e struct {
		DType   string     `json:"dtype"`
		Shape   *[]uint64  `json:"shape"`
		Offsets *[2]uint64 `json:"data_offsets"`
	}
	if err := jsonread.Strict("", entry, &e); err != nil {
		return span{}, err
	}
	if e.Shape == nil || e.Offsets == nil {
		return span{}, errors.New("want a dtype, a shape and data_offsets")
	}
	dtype, known := safetensorsTypes[e.DType]
	if !known {
		return span{}, fmt.Errorf("dtype %.40q is unknown", e.DType)
	}
	s := span{name: name, dtype: dtype, shape: make([]int, len(*e.Shape)), from: e.Offsets[0], to: e.Offsets[1]}
	for i, d := range *e.Shape {
		s.shape[i] = int(min(d, math.MaxInt))
	}
	return s, nil
}

// checkSpans fails unless the tensors fill the data, each with as many bytes as its shape needs.
func checkSpans(spans []span, size uint64) error {
	var errs []error
	end := uint64(0)
	for _, s := range spans {
		errs = append(errs, s.check(end, size))
		end = max(end, s.to)
	}
	if end < size {
		errs = append(errs, fmt.Errorf("safetensors data: %d bytes at the end belong to no tensor", size-end))
	}
	return errors.Join(errs...)
}

// check compares a tensor's place with the end of the one before it and with its own shape.
func (s span) check(end, size uint64) error {
	from, to, bits := s.from, s.to, uint64(bitsOf(s.dtype))
	if len(s.shape) > maxDimensions {
		return fmt.Errorf("%.200q: %d dimensions, want at most %d", s.name, len(s.shape), maxDimensions)
	}
	n, err := attention.Size(s.shape)
	if err != nil {
		return fmt.Errorf("%.200q: %w", s.name, err)
	}
	switch {
	case from > to || to > size:
		return fmt.Errorf("%.200q: data_offsets [%d, %d] in %d bytes of data", s.name, from, to, size)
	case from > end:
		return fmt.Errorf("%.200q: data_offsets [%d, %d] leave a hole: the tensor before ends at %d", s.name, from, to, end)
	case from < end:
		return fmt.Errorf("%.200q: data_offsets [%d, %d] overlap the tensor before, which ends at %d",
			s.name, from, to, end)
	case (to-from)*8%bits != 0 || (to-from)*8/bits != uint64(n):
		return fmt.Errorf("%.200q: %d bytes of data, %s of shape %s needs %d elements of %d bits",
			s.name, to-from, s.dtype, attention.FormatShape(s.shape), n, bits)
	}
	return nil
}
