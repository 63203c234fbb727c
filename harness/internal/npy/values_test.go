package npy_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/npy"
)

func parse(t *testing.T, file []byte) *npy.Array {
	t.Helper()
	a, err := npy.Parse(file)
	require.NoError(t, err)
	return a
}

func TestIntegers(t *testing.T) {
	for _, file := range [][]byte{
		cOrder("<i8", []int{2, 3}, []int64{1, -2, 3, 4, 1 << 53, math.MinInt64}),
		fortran("<i8", []int{2, 3}, []int64{1, 4, -2, 1 << 53, 3, math.MinInt64}),
	} {
		a := parse(t, file)
		got, err := a.Ints()
		require.NoError(t, err)
		require.Equal(t, []int{1, -2, 3, 4, 1 << 53, math.MinInt64}, got)
		numbers, err := a.Numbers()
		require.NoError(t, err)
		require.Equal(t, []float64{1, -2, 3, 4, 1 << 53, math.MinInt64}, numbers)
		made, err := npy.IntArray(got, 2, 3).EncodeNPY()
		require.NoError(t, err)
		again, err := parse(t, made).Ints()
		require.NoError(t, err)
		require.Equal(t, got, again)
		require.Equal(t, []int{2, 3}, parse(t, made).Shape)
	}
	_, err := npy.IntArray([]int{5, 1<<53 + 1}, 2).Numbers()
	require.EqualError(t, err, "element 1 is 9007199254740993, which float64 does not hold")
	_, err = parse(t, cOrder("<f4", []int{1}, []float32{1})).Ints()
	require.EqualError(t, err, "dtype float32, want int64")
}

func TestBools(t *testing.T) {
	a := parse(t, fortran("|b1", []int{2, 2}, []byte{0, 1, 0, 0}))
	numbers, err := a.Numbers()
	require.NoError(t, err)
	require.Equal(t, []float64{0, 0, 1, 0}, numbers)
	m, err := a.Mask()
	require.NoError(t, err)
	made, err := npy.MaskArray(m)
	require.NoError(t, err)
	again, err := made.Mask()
	require.NoError(t, err)
	require.Equal(t, m, again)
	_, err = npy.Parse(cOrder("|b1", []int{2}, []byte{255, 1}))
	require.ErrorContains(t, err, "element 0 of a bool array is 255")
}

func TestFloats(t *testing.T) {
	a := parse(t, cOrder("<f8", []int{2}, []float64{math.Pi, -1}))
	tensor, err := a.Tensor(npy.Float64)
	require.NoError(t, err)
	require.Equal(t, &attention.Tensor{Shape: []int{2}, Data: []float32{math.Pi, -1}}, tensor)
	tensor, err = parse(t, cOrder("<f4", []int{2}, []float32{3, -1})).Tensor(npy.Float32)
	require.NoError(t, err)
	require.Equal(t, &attention.Tensor{Shape: []int{2}, Data: []float32{3, -1}}, tensor)
	numbers, err := a.Numbers()
	require.NoError(t, err)
	require.Equal(t, []float64{math.Pi, -1}, numbers)
	_, err = parse(t, cOrder("<u2", []int{1}, []uint16{1})).Numbers()
	require.ErrorContains(t, err, "dtype uint16, want a floating-point type")
	_, err = (&npy.Array{}).EncodeNPY()
	require.ErrorContains(t, err, `dtype "" cannot be written`)
}

// A NaN whose significand bfloat16 cuts off must not become an infinity.
func TestNaNStaysNaN(t *testing.T) {
	nan := &attention.Tensor{Shape: []int{1}, Data: []float32{math.Float32frombits(0x7f800001)}}
	a, err := npy.TensorArray(nan, npy.BFloat16)
	require.NoError(t, err)
	file, err := a.EncodeNPY()
	require.NoError(t, err)
	require.Equal(t, []byte{0xc0, 0x7f}, file[len(file)-2:])
}

func TestParseOutput(t *testing.T) {
	one, bits := cOrder("<f4", []int{1}, []float32{1}), cOrder("<u2", []int{1}, []uint16{0x3f80})
	for _, tc := range []struct {
		name  string
		file  []byte
		dtype npy.DType
	}{
		{"float32", one, npy.Float32},
		{"bits of bfloat16", bits, npy.BFloat16},
	} {
		a, values, err := npy.ParseOutput(tc.file)
		require.NoError(t, err, tc.name)
		require.Equal(t, tc.dtype, a.DType, tc.name)
		require.Equal(t, []float64{1}, values, tc.name)
	}
	_, _, err := npy.ParseOutput(cOrder("|b1", []int{1}, []byte{1}))
	require.EqualError(t, err, "dtype bool, want a floating-point type")
	_, _, err = npy.ParseOutput(nil)
	require.ErrorContains(t, err, "not a .npy file")
}

// The texts of the errors name the byte at which a header ends.
func TestHeadersAtTheirLimits(t *testing.T) {
	text := func(size int) string {
		head := "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }"
		return head + strings.Repeat(" ", size-len(head)-1) + "\n"
	}
	h, err := npy.ParseHeader(harnesstest.NPYFile(1, text(4096), []byte{}))
	require.NoError(t, err)
	require.Equal(t, 4106, h.Length)
	for file, want := range map[string]string{
		string(harnesstest.NPYFile(1, text(4097), []byte{})): "claims 4097 bytes, want at most 4096",
		"\x93NUMPY\x01":                     "not a .npy file",
		"\x93NUMPY\x01\x00":                 ".npy header is truncated",
		"\x93NUMPY\x01\x00\x05":             ".npy header is truncated",
		"\x93NUMPY\x01\x00\x05\x00":         "claims 5 bytes, the file has 0 left",
		"\x93NUMPY\x02\x01\x00\x00\x00\x00": "version 2.1",
		"\x93NUMPY\x03\x01\x00\x00\x00\x00": "version 3.1",
	} {
		_, err := npy.ParseHeader([]byte(file))
		require.ErrorContains(t, err, want)
	}
	for _, descr := range []string{"=f4", "|f4", "<b1", ">u1", "|S1", "<c8", "", "<"} {
		_, err := npy.ParseHeader(cOrder(descr, []int{1}, []byte{0}))
		require.ErrorContains(t, err, "descr is '"+descr+"', want", descr)
	}
}
