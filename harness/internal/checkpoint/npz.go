package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/npy"
)

// readNPY reads the one array of a .npy file.
func readNPY(r io.ReaderAt, size int64) (*File, error) {
	head, err := section(r, 0, min(size, npy.MaxHeader))
	if err != nil {
		return nil, err
	}
	t, err := array("", head, stretch{r, 0, size})
	if err != nil {
		return nil, err
	}
	return &File{Format: NPY, Tensors: []*Tensor{t}}, nil
}

// readNPZ reads a zip archive of .npy files, the format of numpy.savez and savez_compressed (NumPy
// 2.4).
func readNPZ(z *archive) (*File, error) {
	f := &File{Format: NPZ}
	var errs []error
	for _, m := range z.members {
		t, err := readArray(m)
		if err != nil {
			errs = append(errs, fmt.Errorf("%.200q: %w", m.Name, err))
			continue
		}
		f.Tensors = append(f.Tensors, t)
	}
	return f, errors.Join(errs...)
}

func readArray(m *member) (*Tensor, error) {
	name, isArray := strings.CutSuffix(m.Name, ".npy")
	if !isArray {
		return nil, errors.New("not a .npy file: this is neither an .npz nor a .pt archive")
	}
	r, err := m.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	head, err := io.ReadAll(io.LimitReader(r, npy.MaxHeader))
	if err != nil {
		return nil, err
	}
	return array(name, head, m)
}

// array makes a tensor of a .npy file that begins with head.
func array(name string, head []byte, file data) (*Tensor, error) {
	h, err := npy.ParseHeader(head)
	if err != nil {
		return nil, err
	}
	if err := h.Check(file.size() - int64(h.Length)); err != nil {
		return nil, err
	}
	p := place{data: file, start: int64(h.Length), view: rows(h.Shape), bigEndian: h.BigEndian}
	if h.Fortran {
		p.view = fortran(h.Shape)
	}
	return &Tensor{Name: name, DType: h.DType, Shape: h.Shape, place: p}, nil
}

// swap reverses the bytes of each element.
func swap(data []byte, size int) {
	for element := range slices.Chunk(data, size) {
		slices.Reverse(element)
	}
}
