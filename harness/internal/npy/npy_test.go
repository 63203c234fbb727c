package npy_test

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/npy"
)

func TestParse(t *testing.T) {
	six := []float32{0, 1, 2, 3, 4, 5}
	bigEndian := func(values []float32) []byte {
		var b []byte
		for _, v := range values {
			b = binary.BigEndian.AppendUint32(b, math.Float32bits(v))
		}
		return b
	}
	for _, tc := range []struct {
		name  string
		file  []byte
		dtype npy.DType
		shape []int
		want  []float64
	}{
		{"version 1", harnesstest.NPYFile(1, harnesstest.NPYHeader("<f4", false, []int{2, 3}), six), npy.Float32, []int{2, 3}, []float64{0, 1, 2, 3, 4, 5}},
		{"version 2", harnesstest.NPYFile(2, harnesstest.NPYHeader("<f4", false, []int{2, 3}), six), npy.Float32, []int{2, 3}, []float64{0, 1, 2, 3, 4, 5}},
		{"version 3", harnesstest.NPYFile(3, harnesstest.NPYHeader("<f4", false, []int{2, 3}), six), npy.Float32, []int{2, 3}, []float64{0, 1, 2, 3, 4, 5}},
		{"big endian", harnesstest.NPYFile(1, harnesstest.NPYHeader(">f4", false, []int{2, 3}), bigEndian(six)), npy.Float32, []int{2, 3}, []float64{0, 1, 2, 3, 4, 5}},
		{"Fortran order", harnesstest.NPYFile(1, harnesstest.NPYHeader("<f4", true, []int{2, 3}), six), npy.Float32, []int{2, 3}, []float64{0, 2, 4, 1, 3, 5}},
		{"Fortran order, three dimensions", harnesstest.NPYFile(1, harnesstest.NPYHeader("<f8", true, []int{1, 2, 3}), []float64{0, 1, 2, 3, 4, 5}), npy.Float64, []int{1, 2, 3}, []float64{0, 2, 4, 1, 3, 5}},
		{"float64", harnesstest.NPYFile(1, harnesstest.NPYHeader("<f8", false, []int{2}), []float64{math.Pi, -1e300}), npy.Float64, []int{2}, []float64{math.Pi, -1e300}},
		{"float16 with a subnormal", harnesstest.NPYFile(1, harnesstest.NPYHeader("<f2", false, []int{3}), []uint16{0x3c00, 0x0001, 0x83ff}), npy.Float16, []int{3}, []float64{1, 0x1p-24, -1023 * 0x1p-24}},
		{"big-endian float16", harnesstest.NPYFile(1, harnesstest.NPYHeader(">f2", false, []int{1}), []byte{0x3c, 0x00}), npy.Float16, []int{1}, []float64{1}},
		{"scalar", harnesstest.NPYFile(1, harnesstest.NPYHeader("<f4", false, []int{}), []float32{7}), npy.Float32, []int{}, []float64{7}},
		{"empty", harnesstest.NPYFile(1, harnesstest.NPYHeader("<f4", false, []int{0, 3}), []float32{}), npy.Float32, []int{0, 3}, []float64{}},
		{"padded header", harnesstest.NPYFile(1, strings.Replace(harnesstest.NPYHeader("<f4", false, []int{1}), "\n", "          \n", 1), []float32{7}), npy.Float32, []int{1}, []float64{7}},
		{"keys in another order, no last comma", harnesstest.NPYFile(1, "{'shape': (1,), 'fortran_order': False, 'descr': '<f4'}\n", []float32{7}), npy.Float32, []int{1}, []float64{7}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, err := npy.Parse(tc.file)
			require.NoError(t, err)
			require.Equal(t, tc.dtype, a.DType)
			require.Equal(t, tc.shape, a.Shape)
			got, err := a.Float64s()
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
			_, err = a.Mask()
			require.ErrorContains(t, err, "want bool")
			if tc.dtype != npy.Float32 {
				_, err = a.Tensor(npy.Float32)
				require.ErrorContains(t, err, "want float32")
			}
		})
	}
}

func TestParseBools(t *testing.T) {
	a, err := npy.Parse(harnesstest.NPYFile(1, harnesstest.NPYHeader("|b1", true, []int{2, 2}), []byte{0, 1, 1, 1}))
	require.NoError(t, err)
	m, err := a.Mask()
	require.NoError(t, err)
	require.Equal(t, &attention.Mask{Shape: []int{2, 2}, Data: []bool{false, true, true, true}}, m)
	_, err = a.Float64s()
	require.ErrorContains(t, err, "dtype bool, want a floating-point type")
}

func TestBFloat16(t *testing.T) {
	bits, err := npy.Parse(harnesstest.NPYFile(1, harnesstest.NPYHeader("<u2", true, []int{2, 2}), []uint16{0x3f80, 0xc000, 0x0001, 0x7f80}))
	require.NoError(t, err)
	_, err = bits.Float64s()
	require.EqualError(t, err, "dtype uint16, want a floating-point type")
	a, err := bits.BFloat16()
	require.NoError(t, err)
	require.Equal(t, npy.BFloat16, a.DType)
	values, err := a.Float64s()
	require.NoError(t, err)
	require.Equal(t, []float64{1, 0x1p-133, -2, math.Inf(1)}, values)
	_, err = a.BFloat16()
	require.EqualError(t, err, "dtype bfloat16, want uint16, the bits of bfloat16")
}

func TestParseRefuses(t *testing.T) {
	data := make([]float32, 6)
	f4 := func(shape string) string {
		return "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }\n"
	}
	whole := harnesstest.NPYFile(1, f4("(2, 3)"), data)
	for _, tc := range []struct {
		name string
		file []byte
		err  string
	}{
		{"empty", nil, "not a .npy file"},
		{"other magic", []byte("PK\x03\x04 this is no .npy file"), "not a .npy file"},
		{"version 4", harnesstest.NPYFile(4, f4("(2, 3)"), data), ".npy version 4.0, want 1.0, 2.0 or 3.0"},
		{"minor version", append([]byte("\x93NUMPY\x01\x01"), whole[8:]...), ".npy version 1.1"},
		{"no header length", whole[:9], "header is truncated"},
		{"header longer than file", append([]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff"), whole[10:]...), "header claims 4294967295 bytes, want at most 4096"},
		{"header a little longer than file", append([]byte("\x93NUMPY\x01\x00\xff\x0f"), whole[10:]...), "header claims 4095 bytes, the file has"},
		{"truncated data", whole[:len(whole)-1], "data is truncated"},
		{"trailing bytes", append(append([]byte{}, whole...), 0), "trailing bytes"},
		{"no newline", harnesstest.NPYFile(1, strings.TrimSuffix(f4("(2, 3)"), "\n"), data), "ends in a newline"},
		{"two lines", harnesstest.NPYFile(1, "{'descr': '<f4',\n'fortran_order': False, 'shape': (6,), }\n", data), "on one line"},
		{"overflowing shape", harnesstest.NPYFile(1, f4("(4294967296, 4294967296, 4294967296)"), data), "more elements than an int can count"},
		{"dimension beyond int64", harnesstest.NPYFile(1, f4("(99999999999999999999,)"), data), "out of range"},
		{"negative shape", harnesstest.NPYFile(1, f4("(-2, -3)"), data), "negative dimension"},
		{"1<<40 elements", harnesstest.NPYFile(1, f4("(1099511627776,)"), data), "data is truncated: float32 of shape (1099511627776,)"},
		{"bytes beyond int64", harnesstest.NPYFile(1, f4("(4611686018427387904,)"), data), "data is truncated"},
		{"shape is a number", harnesstest.NPYFile(1, f4("6"), data), "cannot read"},
		{"shape with a hole", harnesstest.NPYFile(1, f4("(2,,3)"), data), "shape (2,,3)"},
		{"no shape", harnesstest.NPYFile(1, "{'descr': '<f4', 'fortran_order': False, }\n", data), "shape is \"\", want a tuple"},
		{"no order", harnesstest.NPYFile(1, "{'descr': '<f4', 'shape': (6,), }\n", data), "fortran_order is \"\""},
		{"shape twice", harnesstest.NPYFile(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'shape': (6,), }\n", data), "shape stands twice"},
		{"unknown key", harnesstest.NPYFile(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'x': 1, }\n", data), "cannot read"},
		{"object dtype", harnesstest.NPYFile(1, harnesstest.NPYHeader("|O", false, []int{6}), data), "descr is '|O'"},
		{"integers", harnesstest.NPYFile(1, harnesstest.NPYHeader("<i4", false, []int{6}), data), "descr is '<i4'"},
		{"structured dtype", harnesstest.NPYFile(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }\n", data), "descr is [('a', '<f4')]"},
		{"native order", harnesstest.NPYFile(1, harnesstest.NPYHeader("f4", false, []int{6}), data), "descr is 'f4'"},
		{"a bool of 2", harnesstest.NPYFile(1, harnesstest.NPYHeader("|b1", false, []int{2}), []byte{1, 2}), "element 1 of a bool array is 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := npy.Parse(tc.file)
			require.ErrorContains(t, err, tc.err)
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(harnesstest.NPYFile(1, harnesstest.NPYHeader("<f4", true, []int{2, 3}), make([]float32, 6)))
	f.Add(harnesstest.NPYFile(3, harnesstest.NPYHeader(">f2", false, []int{3}), make([]uint16, 3)))
	f.Add(harnesstest.NPYFile(2, harnesstest.NPYHeader("|b1", false, []int{}), []byte{1}))
	f.Fuzz(func(t *testing.T, file []byte) {
		a, err := npy.Parse(file)
		if err != nil {
			return
		}
		n, err := attention.Size(a.Shape)
		if err != nil || n > len(file) {
			t.Fatalf("shape %v of a file of %d bytes", a.Shape, len(file))
		}
		if values, err := a.Float64s(); err == nil && len(values) != n {
			t.Fatalf("%d values, the shape %v has %d", len(values), a.Shape, n)
		}
	})
}
