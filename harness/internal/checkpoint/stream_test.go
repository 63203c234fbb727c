package checkpoint_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/checkpoint"
	"github.com/difftest/difftest/harness/internal/harnesstest"
)

// Large arrays in Fortran order and permuted views are brought together in blocks. Every element
// comes to its place.
func TestStreamOfAnyOrder(t *testing.T) {
	for _, shape := range [][]int{{3, 70000}, {70000, 3}, {4200, 1100}, {7, 5, 40, 300}, {1, 9, 1}, {66000}} {
		n, err := attention.Size(shape)
		require.NoError(t, err)
		stored := make([]float32, n)
		for i := range stored {
			stored[i] = float32(i)
		}
		file := harnesstest.NPYFile(1, harnesstest.NPYHeader("<f4", true, shape), stored)
		f, err := checkpoint.New(bytes.NewReader(file), int64(len(file)))
		require.NoError(t, err)
		values, err := f.Tensors[0].Float64s()
		require.NoError(t, err)
		require.Len(t, values, n)
		r := rand.New(rand.NewPCG(1, uint64(n)))
		for range 2000 {
			at, from, stride := r.IntN(n), 0, 1
			index := make([]int, len(shape))
			for d, rest := len(shape)-1, at; d >= 0; d-- {
				index[d], rest = rest%shape[d], rest/shape[d]
			}
			for d, i := range index {
				from, stride = from+i*stride, stride*shape[d]
			}
			require.Equal(t, float64(from), values[at], "%v of %v", index, shape)
		}
	}
}

// Views of a stored or compressed storage: a part, a transposed one, and a repeated row.
func TestStreamOfViews(t *testing.T) {
	six := storageOf("FloatStorage", "0", 6)
	storage := harnesstest.NPYFile(1, "", []float32{1, 2, 3, 4, 5, 6})[10:]
	for _, build := range []func(...string) []byte{archive, deflated} {
		file := build(
			"m/data.pkl", saved(dictOf(
				text("part"), tensorOf(six, 1, numbers(2, 2), numbers(2, 1)),
				text("turned"), tensorOf(six, 0, numbers(3, 2), numbers(1, 3)),
				text("again"), tensorOf(six, 3, numbers(2, 3), numbers(0, 1)),
				text("whole"), tensorOf(six, 0, numbers(6), numbers(1)),
			)), "m/version", "3\n", "m/data/0", string(storage),
		)
		f, err := readAll(file)
		require.NoError(t, err)
		for name, want := range map[string][]float64{
			"part": {2, 3, 4, 5}, "turned": {1, 4, 2, 5, 3, 6}, "again": {4, 5, 6, 4, 5, 6}, "whole": {1, 2, 3, 4, 5, 6},
		} {
			values, err := f.Tensor(name).Float64s()
			require.NoError(t, err)
			require.Equal(t, want, values, name)
		}
	}
}

// A damaged storage is found whether all of it or a part is asked for.
func TestStreamChecksSums(t *testing.T) {
	six := storageOf("FloatStorage", "0", 6)
	file := pt(saved(dictOf(
		text("part"), tensorOf(six, 1, numbers(2), numbers(1)), text("whole"), tensorOf(six, 0, numbers(6), numbers(1)),
	)))
	at := bytes.Index(file, []byte(strings.Repeat("\x00\x00\x80\x3f", 6)))
	file[at] ^= 1
	f, err := checkpoint.New(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	for _, name := range []string{"part", "whole"} {
		_, err := f.Tensor(name).Bytes()
		require.ErrorContains(t, err, "checksum", name)
	}
}

// A stream of a number that is repeated takes no memory, but its values in memory would.
func TestRepeatedNumbersAreNotWidened(t *testing.T) {
	file := pt(saved(dictOf(
		text("w"),
		global("torch._utils", "_rebuild_tensor_v3")+"("+storageOf("UntypedStorage", "0", 24)+number(0)+
			numbers(1<<13, 1<<13)+numbers(0, 0)+"\x89N"+global("torch", "uint8")+"tR",
	)))
	f, err := checkpoint.New(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	_, err = f.Tensor("w").Float64s()
	require.EqualError(t, err, "w: 67108864 elements as float64 take more than 8 times the file and 256 MiB")
}

func TestStreamBlocks(t *testing.T) {
	data := make([]uint8, 1<<17+5)
	for i := range data {
		data[i] = uint8(i % 251)
	}
	file := harnesstest.NPYFile(1, harnesstest.NPYHeader("|u1", false, []int{len(data)}), data)
	f, err := checkpoint.New(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	s, err := f.Tensors[0].Stream()
	require.NoError(t, err)
	defer s.Close()
	var sizes []int
	var all []byte
	for {
		block, err := s.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		sizes = append(sizes, len(block))
		all = append(all, block...)
	}
	require.Equal(t, []int{1 << 16, 1 << 16, 5}, sizes)
	require.Equal(t, data, all)
}

func TestBoolsAreZeroOrOne(t *testing.T) {
	for _, b := range []byte{2, 255} {
		file := harnesstest.NPYFile(1, harnesstest.NPYHeader("|b1", false, []int{3}), []byte{0, 1, b})
		f, err := checkpoint.New(bytes.NewReader(file), int64(len(file)))
		require.NoError(t, err)
		_, err = f.Tensors[0].Statistics()
		require.EqualError(t, err, fmt.Sprintf("element 2 of a bool tensor is %d, want 0 or 1", b))
	}
}

// A wrong bool is named by the same element, whatever the order of the file is.
func TestAWrongBoolIsTheFirstInRowMajorOrder(t *testing.T) {
	file := harnesstest.NPYFile(1, harnesstest.NPYHeader("|b1", true, []int{2, 3}), []byte{0, 9, 1, 0, 7, 1})
	f, err := checkpoint.New(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	_, err = f.Tensors[0].Statistics()
	require.EqualError(t, err, "element 2 of a bool tensor is 7, want 0 or 1")
}
