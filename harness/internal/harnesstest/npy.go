package harnesstest

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/difftest/difftest/attention"
)

// NPY returns the .npy file of a tensor: version 1.0, little endian, C order.
func NPY(t *attention.Tensor) []byte {
	return NPYFile(1, NPYHeader("<f4", false, t.Shape), t.Data)
}

// NPYHeader returns the text of a header, as NumPy writes it.
func NPYHeader(descr string, fortran bool, shape []int) string {
	order := "False"
	if fortran {
		order = "True"
	}
	return fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n",
		descr, order, attention.FormatShape(shape))
}

// NPYFile returns a file with the given header text and data. data may be bytes or anything else
// that encoding/binary writes, in little endian.
func NPYFile(major byte, header string, data any) []byte {
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
