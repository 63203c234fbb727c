package harness_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/harnesstest"
)

// checkpoints holds files that NumPy and PyTorch wrote.
const checkpoints = "internal/checkpoint/testdata/"

func stored(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(checkpoints + name)
	require.NoError(t, err)
	return data
}

type member struct {
	name   string
	data   []byte
	method uint16
}

// archive is a zip of members.
func archive(members ...member) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, m := range members {
		f, err := w.CreateHeader(&zip.FileHeader{Name: m.name, Method: m.method})
		if err == nil {
			_, err = f.Write(m.data)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// malformedZips damages .npz files and the archives of .pt files.
func malformedZips(t *testing.T) []malformed {
	array := harnesstest.NPYFile(1, harnesstest.NPYHeader("<f4", false, []int{3}), make([]float32, 3))
	good := archive(member{"a.npy", array, zip.Store}, member{"b.npy", array, zip.Deflate})
	all := prefixes("npz", weights, good)
	all = append(all, flips("npz", weights, good, 1)...)
	for _, name := range []string{"arrays.npz", "layer-compressed.npz"} {
		all = append(all, flips("npz", weights, stored(t, name), 97)...)
	}
	for _, name := range []string{"layer.pt", "views.pt", "layer-protocol4.pth"} {
		data := stored(t, name)
		all = append(all, flips("pt", weights, data, 61)...)
		for n := 0; n < len(data); n += 211 {
			all = append(all, malformed{fmt.Sprintf("pt: %d bytes of %s", n, name), weights, data[:n], true})
		}
	}
	for _, name := range []string{"layer-legacy.pt", "views-legacy.pt"} {
		data := stored(t, name)
		all = append(all, flips("legacy", weights, data, 61)...)
		for n := 0; n < len(data); n += 101 {
			all = append(all, malformed{fmt.Sprintf("legacy: %d bytes of %s", n, name), weights, data[:n], true})
		}
	}
	add := func(name string, file []byte) { all = append(all, malformed{"npz: " + name, weights, file, true}) }
	add("a name twice", archive(member{"a.npy", array, zip.Store}, member{"a.npy", array, zip.Store}))
	for _, name := range []string{"a.txt", "a", "\x1b[2J.npy", "a\nb.npy", "\u202e.npy"} {
		file := archive(member{"ok.npy", array, zip.Store}, member{name, array, zip.Store})
		add(fmt.Sprintf("a member %.20q", name), file)
	}
	add("an archive inside", archive(member{"a.npy", good, zip.Deflate}))
	// 64 MiB of zeros behind a header, deflated to 64 kB: of 3 elements, and of all of them.
	zeros := make([]byte, 64<<20)
	add("a bomb behind an array", archive(member{"a.npy", append(bytes.Clone(array), zeros...), zip.Deflate}))
	bomb := harnesstest.NPYFile(1, harnesstest.NPYHeader("<f4", true, []int{4096, 4096}), zeros)
	fortran := archive(member{"a.npy", bomb, zip.Deflate})
	all = append(all, malformed{"npz: a bomb in Fortran order", weights, fortran, false})
	// Fields of the central directory that lie.
	for _, field := range []struct {
		name       string
		at, size   int
		values     []uint64
		localIndex int
	}{
		{"method", 10, 2, []uint64{1, 9, 12, 14, 93, 99, 65535}, 8},
		{"flags", 8, 2, []uint64{1, 1<<6 | 1, 1<<13 | 1}, 6},
		{"checksum", 16, 4, []uint64{0, 1 << 31, 1<<32 - 1}, 14},
		{"compressed size", 20, 4, []uint64{0, 1, 139, 1 << 20, 1 << 31, 1<<32 - 1}, 18},
		{"size", 24, 4, []uint64{0, 1, 139, 1 << 20, 1 << 31, 1<<32 - 1}, 22},
		{"offset", 42, 4, []uint64{1, 7, 1 << 20, 1 << 31, 1<<32 - 1}, -1},
	} {
		for _, value := range field.values {
			file := bytes.Clone(good)
			central := bytes.Index(file, []byte("PK\x01\x02"))
			put := binary.LittleEndian.AppendUint64(nil, value)[:field.size]
			copy(file[central+field.at:], put)
			add(fmt.Sprintf("%s %d in the directory", field.name, value), file)
		}
	}
	return all
}

// malformedPickles writes pickles that no torch.save writes, in an archive of torch.save.
func malformedPickles(t *testing.T) []malformed {
	storage := make([]byte, 24)
	var all []malformed
	for i, p := range evilPickles() {
		file := archive(
			member{"a/data.pkl", []byte("\x80\x02" + p.text + "."), zip.Store},
			member{"a/byteorder", []byte("little"), zip.Store},
			member{"a/data/0", storage, zip.Store}, member{"a/version", []byte("3\n"), zip.Store},
		)
		all = append(all, malformed{fmt.Sprintf("pickle: %d %s", i, p.name), weights, file, !p.sound})
	}
	require.NoError(t, all[0].read(all[0].data), "the pickle that the others are made of")
	return all
}

type evil struct {
	name, text string
	sound      bool
}

// evilPickles are texts of pickles. The first is sound.
func evilPickles() []evil {
	word := func(s string) string { return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s }
	number := func(n int64) string { return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }
	tuple := func(ns ...int64) string {
		s := "("
		for _, n := range ns {
			s += number(n)
		}
		return s + "t"
	}
	tensor := func(class, key, elements, offset, shape, strides string) string {
		return "ctorch._utils\n_rebuild_tensor_v2\n((" +
			word("storage") + "ctorch\n" + class + "\n" + key + word("cpu") + elements + "tQ" +
			offset + shape + strides + "\x89ccollections\nOrderedDict\n)RtR"
	}
	dict := func(value string) string { return "}(" + word("w") + value + "u" }
	made := func(offset int64, shape, strides string) string {
		return dict(tensor("FloatStorage", word("0"), number(6), number(offset), shape, strides))
	}
	all := []evil{{"sound", made(0, tuple(2, 3), tuple(3, 1)), true}}
	for _, v := range []struct {
		offset         int64
		shape, strides []int64
	}{
		{1, []int64{2, 3}, []int64{3, 1}}, {-1, []int64{2, 3}, []int64{3, 1}}, {1 << 62, []int64{1}, []int64{1}},
		{0, []int64{2, 3}, []int64{4, 1}},
		{0, []int64{2, 3}, []int64{-3, 1}}, {5, []int64{6}, []int64{-1}}, {0, []int64{-2, 3}, []int64{3, 1}},
		{0, []int64{7}, []int64{1}},
		{0, []int64{2, 3}, []int64{3}}, {0, []int64{2}, []int64{3, 1}}, {0, []int64{1 << 62, 4}, []int64{0, 0}},
		{0, []int64{1 << 31, 1 << 31, 1 << 31}, []int64{0, 0, 0}}, {0, []int64{1 << 30}, []int64{0}},
		{0, []int64{1 << 16, 1 << 16}, []int64{0, 0}},
		{0, []int64{2, 2}, []int64{1 << 62, 1 << 62}}, {0, []int64{3, 2}, []int64{1 << 63 / 2 / -1, 1}},
		{0, make([]int64, 65), make([]int64, 65)},
	} {
		name := fmt.Sprintf("offset %d shape %.30v strides %.30v", v.offset, v.shape, v.strides)
		all = append(all, evil{name, made(v.offset, tuple(v.shape...), tuple(v.strides...)), false})
	}
	// A view of one element by stride 0, within the limit of all tensors, is sound.
	all = append(all, evil{"1,000 by stride 0", made(0, tuple(1000), tuple(0)), true})
	for _, class := range []string{"os\nsystem", "FloatStorage2", "QInt8Storage", "", "load", "_C"} {
		pickle := dict(tensor(class, word("0"), number(6), number(0), tuple(2, 3), tuple(3, 1)))
		all = append(all, evil{"class " + class, pickle, false})
	}
	for _, key := range []string{
		word("1"), word(""), word("../0"), word("\x1b[2J"), number(0), "N", word(strings.Repeat("0", 100000)),
	} {
		pickle := dict(tensor("FloatStorage", key, number(6), number(0), tuple(2, 3), tuple(3, 1)))
		all = append(all, evil{fmt.Sprintf("key %.20q", key), pickle, false})
	}
	for _, n := range []int64{-1, 0, 5, 7, 1 << 40, 1 << 62} {
		pickle := dict(tensor("FloatStorage", word("0"), number(n), number(0), tuple(2, 3), tuple(3, 1)))
		all = append(all, evil{fmt.Sprintf("%d elements claimed", n), pickle, false})
	}
	flat := tensor("FloatStorage", word("0"), number(6), number(0), tuple(6), tuple(1))
	for name, text := range map[string]string{
		"an empty pickle":             "",
		"a call":                      "cos\nsystem\n" + word("true") + "\x85R",
		"builtins":                    "cbuiltins\neval\n" + word("1") + "\x85R",
		"deep tuples":                 strings.Repeat("(", 200000) + strings.Repeat("t", 200000),
		"deep lists":                  strings.Repeat("]", 100000) + strings.Repeat("a", 99999),
		"millions of None":            strings.Repeat("N", 4<<20),
		"millions of marks":           strings.Repeat("(", 4<<20),
		"a long integer":              "\x8b\xff\xff\xff\x7f",
		"a negative length":           "\x8b\xff\xff\xff\xff",
		"a text beyond the end":       "X\xff\xff\xff\xff",
		"bytes beyond the end":        "B\xff\xff\xff\x7f",
		"a memo that is empty":        "h\x07",
		"a memo far away":             "j\xff\xff\xff\xff",
		"pop of nothing":              "0",
		"a mark that is missing":      "t",
		"a frame of 2^63 bytes":       "\x95\x00\x00\x00\x00\x00\x00\x00\x80",
		"two objects":                 "NN",
		"a persistent id":             "Pa\n",
		"an extension":                "\x82\x01",
		"an instance":                 "(ios\nsystem\n",
		"a build of a tensor":         flat + "}b",
		"itself in itself":            "]q\x00h\x00a",
		"a dict in itself":            "}q\x00(" + word("a") + "h\x00u",
		"a number":                    number(7),
		"None":                        "N",
		"a text":                      word("x"),
		"odd items":                   "}(" + word("a") + "u",
		"a list as key":               "}(]Nu",
		"a name of 20 MB":             dict("N")[:2] + word(strings.Repeat("a", 20<<20)) + "Nu",
		"a name with an escape":       "}(" + word("\x1b[2Jok") + flat + "u",
		"a float as a shape":          made(0, "(G\x00\x00\x00\x00\x00\x00\x00\x00t", tuple(1)),
		"a text as a shape":           made(0, word("2"), tuple(1)),
		"a class without its newline": "cos",
		"an unknown opcode":           "\xfe",
		"protocol 9":                  "\x80\x09N",
		"a float":                     "G\x7f\xf8\x00\x00\x00\x00\x00\x00",
	} {
		all = append(all, evil{name, text, false})
	}
	return all
}
