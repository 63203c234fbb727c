// Package npytest writes .npy files for tests, right and wrong ones.
package npytest

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/difftest/difftest/attention"
)

// Float32 is the file of a tensor, version 1.0, little endian, C order.
func Float32(t *attention.Tensor) []byte {
	return File(1, Header("<f4", false, t.Shape), t.Data)
}

// Header is the text of a header, as NumPy writes it.
func Header(descr string, fortran bool, shape []int) string {
	order := "False"
	if fortran {
		order = "True"
	}
	return fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n", descr, order, attention.FormatShape(shape))
}

// File puts a header's text before data, which is bytes or anything that encoding/binary writes
// in little endian.
func File(major byte, header string, data any) []byte {
	var b bytes.Buffer
	b.WriteString("\x93NUMPY")
	b.Write([]byte{major, 0})
	if major == 1 {
		write(&b, uint16(len(header)))
	} else {
		write(&b, uint32(len(header)))
	}
	b.WriteString(header)
	write(&b, data)
	return b.Bytes()
}

func write(b *bytes.Buffer, data any) {
	if err := binary.Write(b, binary.LittleEndian, data); err != nil {
		panic(err)
	}
}
