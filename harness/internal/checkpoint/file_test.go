package checkpoint_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/checkpoint"
	"github.com/difftest/difftest/harness/internal/npy"
)

func open(t *testing.T, name string) *checkpoint.File {
	t.Helper()
	f, err := checkpoint.Open(filepath.Join("testdata", name))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// counted returns 0, 1, 2, ..., as the function of that name in pyref/build/checkpoints.py does.
func counted(n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = float64(i)
	}
	return values
}

func requireValues(t *testing.T, f *checkpoint.File, name string, dtype npy.DType, shape []int, want []float64) {
	t.Helper()
	tensor := f.Tensor(name)
	require.NotNil(t, tensor, name)
	require.Equal(t, dtype, tensor.DType, name)
	require.Equal(t, shape, tensor.Shape, name)
	got, err := tensor.Float64s()
	require.NoError(t, err)
	require.Len(t, got, len(want), name)
	for i := range want {
		require.Equal(t, math.Float64bits(want[i]), math.Float64bits(got[i]), "%s[%d]: %v", name, i, got[i])
	}
}

// Files of one layer by different writers give the same state dict, which loads.
func TestEveryWriter(t *testing.T) {
	for name, format := range map[string]checkpoint.Format{
		"layer.pt": checkpoint.PyTorch, "layer-protocol4.pth": checkpoint.PyTorch,
		"layer-legacy.pt": checkpoint.Legacy, "layer.safetensors": checkpoint.Safetensors,
		"layer.npz": checkpoint.NPZ, "layer-compressed.npz": checkpoint.NPZ,
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, name)
			require.Equal(t, format, f.Format)
			require.Len(t, f.Tensors, 4)
			for key, shape := range map[string][]int{
				"in_proj_weight": {12, 4}, "in_proj_bias": {12}, "out_proj.weight": {4, 4}, "out_proj.bias": {4},
			} {
				n, err := attention.Size(shape)
				require.NoError(t, err)
				want := counted(n)
				for i := range want {
					want[i] = (want[i] - 5) / 8
				}
				requireValues(t, f, key, npy.Float32, shape, want)
			}
			dict, left, err := f.StateDict()
			require.NoError(t, err)
			require.Empty(t, left)
			layer, err := attention.New(attention.Config{EmbedDim: 4, NumHeads: 2})
			require.NoError(t, err)
			_, err = layer.LoadStateDict(dict, attention.Strict)
			require.NoError(t, err)
			require.Equal(t, dict, layer.StateDict())
		})
	}
}

func TestEveryType(t *testing.T) {
	for _, name := range []string{"dtypes.pt", "dtypes.safetensors"} {
		t.Run(name, func(t *testing.T) {
			f := open(t, name)
			require.Len(t, f.Tensors, 18)
			for _, dtype := range []npy.DType{npy.Float16, npy.BFloat16, npy.Float32, npy.Float64} {
				requireValues(t, f, string(dtype), dtype, []int{4}, []float64{1, -2.5, 0x1p-20, 0})
			}
			for _, dtype := range []npy.DType{npy.Int8, npy.Int16, npy.Int32, npy.Int64} {
				requireValues(t, f, string(dtype), dtype, []int{2}, []float64{-1, 100})
			}
			for _, dtype := range []npy.DType{npy.Uint8, npy.Uint16, npy.Uint32, npy.Uint64} {
				requireValues(t, f, string(dtype), dtype, []int{2}, []float64{1, 200})
			}
			requireValues(t, f, "bool", npy.Bool, []int{2}, []float64{1, 0})
			requireValues(t, f, "num_batches_tracked", npy.Int64, []int{}, []float64{7})
			requireValues(t, f, "scalar", npy.Float32, []int{}, []float64{0.5})
			requireValues(t, f, "empty", npy.Float32, []int{0, 3}, []float64{})
			requireValues(t, f, "fine", npy.Float64, []int{1}, []float64{1.0 / 3})
			odd := []float64{
				float64(math.Float32frombits(0x7fc00000)), math.Inf(1), math.Inf(-1), math.Copysign(0, -1),
			}
			requireValues(t, f, "not_finite", npy.Float32, []int{4}, odd)

			dict, left, err := f.StateDict()
			require.NoError(t, err)
			require.Equal(t, []string{
				"bool", "int16", "int32", "int64", "int8", "num_batches_tracked", "uint16", "uint32", "uint64", "uint8",
			}, left)
			require.Len(t, dict, 8)
			require.Equal(t, []float32{float32(1) / 3}, dict["fine"].Data)
		})
	}
}

// Every code of the floats of 8 bits has PyTorch's value. Types that are not read are listed, and a
// parameter of one is an error with its name.
func TestRareTypes(t *testing.T) {
	for name, want := range map[string][]npy.DType{
		"rare-types.safetensors": {"complex64", "float8_e8m0fnu"},
		"rare-types.pt":          {"complex128", "complex64", "float8_e4m3fnuz", "float8_e8m0fnu"},
	} {
		f := open(t, name)
		for _, dtype := range []npy.DType{npy.Float8E4M3FN, npy.Float8E5M2} {
			got := f.Tensor(string(dtype))
			require.Equal(t, dtype, got.DType)
			require.Equal(t, []int{256}, got.Shape)
			values, err := got.Float64s()
			require.NoError(t, err)
			wide, err := f.Tensor(string(dtype) + " as float32").Float64s()
			require.NoError(t, err)
			require.Len(t, values, 256)
			for code, v := range values {
				if math.IsNaN(v) {
					require.True(t, math.IsNaN(wide[code]), "%s %#x", dtype, code)
					continue
				}
				require.Equal(t, math.Float64bits(wide[code]), math.Float64bits(v), "%s %#x", dtype, code)
			}
		}
		dict, left, err := f.StateDict()
		require.NoError(t, err)
		require.Len(t, dict, 4)
		var unread []npy.DType
		for _, name := range left {
			_, err := f.Tensor(name).Float32s()
			require.EqualError(t, err, fmt.Sprintf("%s: the values of dtype %s cannot be read", name, name))
			unread = append(unread, f.Tensor(name).DType)
		}
		require.Equal(t, want, unread)
	}
}

// PyTorch negates numbers lazily and saves a bit. The numbers that are read have the right sign.
func TestNegativeBit(t *testing.T) {
	for _, name := range []string{"bits.pt", "bits-legacy.pt"} {
		t.Run(name, func(t *testing.T) {
			f := open(t, name)
			requireValues(t, f, "imaginary", npy.Float32, []int{2, 3}, []float64{-1, -2, -3, -4, -5, -6})
			requireValues(t, f, "transposed", npy.Float32, []int{3, 2}, []float64{-1, -4, -2, -5, -3, -6})
			requireValues(t, f, "real", npy.Float32, []int{2, 3}, counted(6))
			requireValues(t, f, "integers", npy.Int32, []int{4}, []float64{-1, 2, 0, -(1 << 31)})
			requireValues(t, f, "half", npy.Float16, []int{3}, []float64{math.Copysign(0, -1), -1, -2})
			requireValues(t, f, "bytes", npy.Uint8, []int{3}, []float64{0, 255, 1})
			if name == "bits.pt" { // PyTorch cannot read uint16 in a legacy file
				requireValues(t, f, "words", npy.Uint16, []int{3}, []float64{0, 65535, 65280})
			}
			require.False(t, f.Tensor("conjugated").Readable())
		})
	}
}

func TestViews(t *testing.T) {
	for _, name := range []string{"views.pt", "views-legacy.pt"} {
		t.Run(name, func(t *testing.T) {
			f := open(t, name)
			require.Len(t, f.Tensors, 9)
			columns := []float64{0, 4, 8, 12, 16, 20, 1, 5, 9, 13, 17, 21, 2, 6, 10, 14, 18, 22, 3, 7, 11, 15, 19, 23}
			requireValues(t, f, "whole", npy.Float32, []int{2, 3, 4}, counted(24))
			requireValues(t, f, "transposed", npy.Float32, []int{4, 6}, columns)
			requireValues(t, f, "permuted", npy.Float32, []int{4, 2, 3}, columns)
			requireValues(t, f, "column", npy.Float32, []int{2, 3}, []float64{1, 5, 9, 13, 17, 21})
			requireValues(t, f, "tail", npy.Float32, []int{4}, []float64{20, 21, 22, 23})
			odd := []float64{1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23}
			requireValues(t, f, "every_other", npy.Float32, []int{12}, odd)
			requireValues(t, f, "expanded", npy.Float32, []int{3, 2}, []float64{20, 20, 20, 20, 20, 20})
			requireValues(t, f, "one", npy.Float32, []int{}, []float64{14})
			requireValues(t, f, "none", npy.Float32, []int{0, 3, 4}, []float64{})
		})
	}
}

func TestArraysOfNumPy(t *testing.T) {
	f := open(t, "arrays.npz")
	require.Len(t, f.Tensors, 6)
	for _, name := range []string{"fortran", "big_endian", "layer.0/w"} {
		requireValues(t, f, name, npy.Float32, []int{2, 3}, counted(6))
	}
	requireValues(t, f, "half", npy.Float16, []int{2, 3}, counted(6))
	requireValues(t, f, "integers", npy.Int32, []int{2}, []float64{1, -2})
	requireValues(t, f, "scalar", npy.Float64, []int{}, []float64{0.5})
	requireValues(t, open(t, "array.npy"), "", npy.Float64, []int{2, 3}, counted(6))
	require.Nil(t, f.Tensor("none-such"))
}

// The entries around a state dict are named.
func TestWrapped(t *testing.T) {
	for _, tc := range []struct {
		name, under string
		tensors     []string
		other       []string
	}{
		{
			"nested.pt", "state_dict", []string{"weight"},
			[]string{"epoch: an integer", "loss: None", "optimizer: a dict"},
		},
		{"parameters.pt", "", []string{"frozen", "weight"}, nil},
		{"tensor.pt", "", []string{""}, nil},
		{"beside.pt", "", []string{"weight"}, []string{"name: a text", "step: an integer"}},
		{"list.pt", "", []string{"one"}, []string{"two: a list"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := open(t, tc.name)
			require.Equal(t, tc.under, f.Under)
			require.Equal(t, tc.other, f.Other)
			require.Len(t, f.Tensors, len(tc.tensors))
			for _, name := range tc.tensors {
				requireValues(t, f, name, npy.Float32, []int{2, 3}, counted(6))
			}
		})
	}
}

func TestRefusesWhatPyTorchSavesBesideStateDicts(t *testing.T) {
	for name, class := range map[string]string{
		"module.pt": "torch.nn.modules.linear.Linear", "sparse.pt": "torch._utils._rebuild_sparse_tensor",
	} {
		path := filepath.Join("testdata", name)
		_, err := checkpoint.Open(path)
		require.ErrorContains(t, err, path+": ")
		require.ErrorContains(t, err, `refused: "`+class+`" has no place in a plain state dict`)
	}
}

func TestOpenFS(t *testing.T) {
	for _, fsys := range []fs.FS{
		os.DirFS("testdata"), fstest.MapFS{"layer.pt": {Data: read(t, "layer.pt")}}, unseekable{os.DirFS("testdata")},
	} {
		f, err := checkpoint.OpenFS(fsys, "layer.pt")
		require.NoError(t, err)
		_, _, err = f.StateDict()
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	_, err := checkpoint.OpenFS(os.DirFS("."), "testdata")
	require.EqualError(t, err, "testdata: not a regular file: only regular files are read")
	_, err = checkpoint.Open("none-such.pt")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// unseekable hides that a file can be read at any offset.
type unseekable struct{ fs.FS }

func (u unseekable) Open(name string) (fs.File, error) {
	f, err := u.FS.Open(name)
	return struct{ fs.File }{f}, err
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return data
}

// readAll reads every value of a file.
func readAll(data []byte) (*checkpoint.File, error) {
	f, err := checkpoint.New(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	for _, t := range f.Tensors {
		if _, err := t.Float64s(); t.Readable() && err != nil {
			return nil, err
		}
	}
	return f, nil
}

// A file is refused if it is cut off anywhere, or if bytes stand behind its end.
func TestCutFiles(t *testing.T) {
	campaign.SkipShort(t)
	files, err := filepath.Glob("testdata/*.*")
	require.NoError(t, err)
	require.Len(t, files, 23)
	for _, file := range files {
		data := read(t, filepath.Base(file))
		for n := range data {
			_, err := readAll(data[:n])
			require.Error(t, err, "%s: the first %d of %d bytes", file, n, len(data))
		}
		_, err := readAll(append(data, 0))
		if zip := strings.HasPrefix(string(data), "PK"); !zip { // bytes may stand behind an archive
			require.Error(t, err, file)
		}
	}
}

// Formats with sums refuse a wrong bit of the data.
func TestWrongBits(t *testing.T) {
	for _, name := range []string{"layer.pt", "layer.npz", "layer-compressed.npz"} {
		data := read(t, name)
		at := bytes.Index(data, []byte{0, 0, 0x20, 0xbf, 0, 0, 0, 0xbf}) // -5/8, -4/8
		if name == "layer-compressed.npz" {
			at = bytes.Index(data, []byte("in_proj_weight.npy")) + 60
		}
		require.Positive(t, at)
		data[at] ^= 1
		_, err := readAll(data)
		require.Error(t, err, name)
	}
}

func TestFloat32s(t *testing.T) {
	_, err := open(t, "dtypes.pt").Tensor("int64").Float32s()
	require.EqualError(t, err, "int64: dtype int64, want a floating-point type")
	data, err := binary.Append(nil, binary.LittleEndian, []float64{1, -1e300, 2e300})
	require.NoError(t, err)
	big := safetensors(header(entry("w", "F64", "2", 0, 16), entry("v", "F64", "1", 16, 24)), data)
	f, err := checkpoint.New(bytes.NewReader(big), int64(len(big)))
	require.NoError(t, err)
	_, _, err = f.StateDict()
	require.EqualError(t, err,
		"v: element 0 is 2e+300, too large for float32\nw: element 1 is -1e+300, too large for float32")
}

// refusal is a file that must be refused, and a part of the error.
type refusal struct {
	name string
	file []byte
	err  string
}

// run reads the file, and checks that little memory is allocated for it.
func (r refusal) run(t *testing.T) {
	t.Helper()
	t.Run(r.name, func(t *testing.T) {
		allocated := allocatedBy(func() {
			_, err := readAll(r.file)
			require.ErrorContains(t, err, r.err)
		})
		require.Less(t, allocated, uint64(len(r.file))*120+1<<20)
	})
}

// allocatedBy returns the number of bytes that a function allocates.
func allocatedBy(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestNewRefuses(t *testing.T) {
	for _, tc := range []refusal{
		{"empty", nil, "the file is empty"},
		{
			"a Git LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
			"a Git LFS pointer, not the weights: fetch them with git lfs pull",
		},
		{"a GGUF file", []byte("GGUF\x03\x00\x00\x00\x23\x01"), "a GGUF file of llama.cpp, which is not read"},
		{"a page", []byte("\r\n<!DOCTYPE html><html>"), "an HTML page, not weights"},
		{"a page in small letters", []byte("<html lang=en>"), "an HTML page, not weights"},
		{"HDF5", []byte("\x89HDF\r\n\x1a\n"), "an HDF5 file"},
		{"gzip", []byte("\x1f\x8b\x08\x00"), "gzip: unpack it first"},
		{"JSON", []byte(`{"error": "not found"}`), "a JSON file without weight_map"},
		{"JSON that ends early", []byte(` {"weight_map": {`), "a JSON file that cannot be read"},
		{"an index alone", []byte(`{"weight_map": {"w": "a.bin"}}`), "without its folder"},
		{"an image", []byte("\x89PNG\r\n\x1a\n and so on"), "neither .npy"},
		{"a tar", append(make([]byte, 257), "ustar\x0000 and so on"...), "a tar archive"},
	} {
		tc.run(t)
	}
}

func FuzzNew(f *testing.F) {
	for _, name := range []string{
		"layer.pt", "layer-legacy.pt", "layer.safetensors", "layer-compressed.npz", "arrays.npz", "array.npy",
		"views.pt", "nested.pt", "dtypes.pt", "dtypes.safetensors", "bits.pt", "rare-types.pt",
		"rare-types.safetensors",
	} {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := checkpoint.New(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, tensor := range file.Tensors {
			values, err := tensor.Float64s()
			if err != nil {
				continue
			}
			if n := size(tensor.Shape); n != len(values) {
				t.Fatalf("%q: %d values, the shape %v has %d", tensor.Name, len(values), tensor.Shape, n)
			}
		}
	})
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
