package npy_test

import (
	"encoding/binary"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/npy"
)

// cOrder puts a header that NumPy would write before data.
func cOrder(descr string, shape []int, data any) []byte {
	return harnesstest.NPYFile(1, harnesstest.NPYHeader(descr, false, shape), data)
}

// fortran says that the first index is the fastest.
func fortran(descr string, shape []int, data any) []byte {
	return harnesstest.NPYFile(1, harnesstest.NPYHeader(descr, true, shape), data)
}

func TestParse(t *testing.T) {
	six := []float32{0, 1, 2, 3, 4, 5}
	header := harnesstest.NPYHeader("<f4", false, []int{2, 3})
	matrix := []float64{0, 1, 2, 3, 4, 5}
	bigEndian, err := binary.Append(nil, binary.BigEndian, six)
	require.NoError(t, err)
	padded := strings.Replace(harnesstest.NPYHeader("<f4", false, []int{1}), "\n", "          \n", 1)
	otherOrder := "{'shape': (1,), 'fortran_order': False, 'descr': '<f4'}\n"
	manyDimensions := "{'descr':'<f4','fortran_order':False,'shape':(" + strings.Repeat("1,", 1000) + ")}\n"
	for _, tc := range []struct {
		name  string
		file  []byte
		dtype npy.DType
		shape []int
		want  []float64
	}{
		{"version 1", harnesstest.NPYFile(1, header, six), npy.Float32, []int{2, 3}, matrix},
		{"version 2", harnesstest.NPYFile(2, header, six), npy.Float32, []int{2, 3}, matrix},
		{"version 3", harnesstest.NPYFile(3, header, six), npy.Float32, []int{2, 3}, matrix},
		{"big endian", cOrder(">f4", []int{2, 3}, bigEndian), npy.Float32, []int{2, 3}, matrix},
		{"Fortran order", fortran("<f4", []int{2, 3}, six), npy.Float32, []int{2, 3}, []float64{0, 2, 4, 1, 3, 5}},
		{
			"Fortran order, three dimensions", fortran("<f8", []int{1, 2, 3}, matrix),
			npy.Float64, []int{1, 2, 3}, []float64{0, 2, 4, 1, 3, 5},
		},
		{
			"float64", cOrder("<f8", []int{2}, []float64{math.Pi, -1e300}),
			npy.Float64, []int{2}, []float64{math.Pi, -1e300},
		},
		{
			"float16 with a subnormal", cOrder("<f2", []int{3}, []uint16{0x3c00, 0x0001, 0x83ff}),
			npy.Float16, []int{3}, []float64{1, 0x1p-24, -1023 * 0x1p-24},
		},
		{"big-endian float16", cOrder(">f2", []int{1}, []byte{0x3c, 0x00}), npy.Float16, []int{1}, []float64{1}},
		{"scalar", cOrder("<f4", []int{}, []float32{7}), npy.Float32, []int{}, []float64{7}},
		{"empty", cOrder("<f4", []int{0, 3}, []float32{}), npy.Float32, []int{0, 3}, []float64{}},
		{"padded header", harnesstest.NPYFile(1, padded, []float32{7}), npy.Float32, []int{1}, []float64{7}},
		{
			"keys in another order, no last comma", harnesstest.NPYFile(1, otherOrder, []float32{7}),
			npy.Float32, []int{1}, []float64{7},
		},
		{
			"a shape that NumPy would need more room for", harnesstest.NPYFile(1, manyDimensions, []float32{7}),
			npy.Float32, slices.Repeat([]int{1}, 1000), []float64{7},
		},
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
	a, err := npy.Parse(fortran("|b1", []int{2, 2}, []byte{0, 1, 1, 1}))
	require.NoError(t, err)
	m, err := a.Mask()
	require.NoError(t, err)
	require.Equal(t, &attention.Mask{Shape: []int{2, 2}, Data: []bool{false, true, true, true}}, m)
	_, err = a.Float64s()
	require.ErrorContains(t, err, "dtype bool, want a floating-point type")
}

// The elements of a large file take their own size in memory, and no more.
func TestParseCopiesNothing(t *testing.T) {
	const size = 8 << 20
	large := cOrder("<f4", []int{size / 4}, make([]float32, size/4))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := npy.Parse(large)
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(size+1<<20))
}

// 16 Mi elements of float32.
func BenchmarkParse(b *testing.B) {
	large := cOrder("<f4", []int{16, 1 << 20}, make([]float32, 1<<24))
	b.Run("M16", func(b *testing.B) {
		b.SetBytes(int64(len(large)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := npy.Parse(large); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestBFloat16(t *testing.T) {
	bits, err := npy.Parse(fortran("<u2", []int{2, 2}, []uint16{0x3f80, 0xc000, 0x0001, 0x7f80}))
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
	f4 := func(shape string) []byte {
		return harnesstest.NPYFile(1, "{'descr': '<f4', 'fortran_order': False, 'shape': "+shape+", }\n", data)
	}
	text := func(header string) []byte { return harnesstest.NPYFile(1, header, data) }
	whole := f4("(2, 3)")
	begin := func(begin string) []byte { return append([]byte("\x93NUMPY"+begin), whole[10:]...) }
	for _, tc := range []struct {
		name string
		file []byte
		err  string
	}{
		{"empty", nil, "not a .npy file"},
		{"other magic", []byte("PK\x03\x04 this is no .npy file"), "not a .npy file"},
		{
			"version 4", harnesstest.NPYFile(4, harnesstest.NPYHeader("<f4", false, []int{2, 3}), data),
			".npy version 4.0, want 1.0, 2.0 or 3.0",
		},
		{"minor version", append([]byte("\x93NUMPY\x01\x01"), whole[8:]...), ".npy version 1.1"},
		{"no header length", whole[:9], "header is truncated"},
		{
			"header longer than file", begin("\x02\x00\xff\xff\xff\xff"),
			"header claims 4294967295 bytes, want at most 4096",
		},
		{"header a little longer than file", begin("\x01\x00\xff\x0f"), "header claims 4095 bytes, the file has"},
		{"truncated data", whole[:len(whole)-1], "data is truncated"},
		{"trailing bytes", append(slices.Clone(whole), 0), "trailing bytes"},
		{"no newline", text("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"), "ends in a newline"},
		{"two lines", text("{'descr': '<f4',\n'fortran_order': False, 'shape': (6,), }\n"), "on one line"},
		{
			"overflowing shape", f4("(4294967296, 4294967296, 4294967296)"),
			"more elements than an int can count",
		},
		{"dimension beyond int64", f4("(99999999999999999999,)"), "out of range"},
		{"negative shape", f4("(-2, -3)"), "negative dimension"},
		{"1<<40 elements", f4("(1099511627776,)"), "data is truncated: float32 of shape (1099511627776,)"},
		{"bytes beyond int64", f4("(4611686018427387904,)"), "data is truncated"},
		{"shape is a number", f4("6"), "cannot read"},
		{"shape with a hole", f4("(2,,3)"), "shape (2,,3)"},
		{"no shape", text("{'descr': '<f4', 'fortran_order': False, }\n"), "shape is \"\", want a tuple"},
		{"no order", text("{'descr': '<f4', 'shape': (6,), }\n"), "fortran_order is \"\""},
		{
			"shape twice", text("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'shape': (6,), }\n"),
			"shape stands twice",
		},
		{"unknown key", text("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'x': 1, }\n"), "cannot read"},
		{"object dtype", cOrder("|O", []int{6}, data), "descr is '|O'"},
		{"integers", cOrder("<i4", []int{6}, data), "descr is '<i4'"},
		{
			"structured dtype", text("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }\n"),
			"descr is [('a', '<f4')]",
		},
		{"native order", cOrder("f4", []int{6}, data), "descr is 'f4'"},
		{"a bool of 2", cOrder("|b1", []int{2}, []byte{1, 2}), "element 1 of a bool array is 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := npy.Parse(tc.file)
			require.ErrorContains(t, err, tc.err)
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(fortran("<f4", []int{2, 3}, make([]float32, 6)))
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
