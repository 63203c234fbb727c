package checkpoint_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/checkpoint"
	"github.com/difftest/difftest/harness/internal/harnesstest"
)

// safetensors is a file with a header and data.
func safetensors(header string, data []byte) []byte {
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
}

func doubles(values ...float64) []byte {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, values); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// archive is a zip archive of names and contents in turn.
func archive(members ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		f, err := w.CreateHeader(&zip.FileHeader{Name: members[i], Method: zip.Store})
		if err != nil {
			panic(err)
		}
		if _, err := f.Write([]byte(members[i+1])); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// pt is an archive as torch.save writes it, with one storage of six float32.
func pt(pickle string) []byte {
	return archive("m/data.pkl", pickle, "m/byteorder", "little", "m/data/0", strings.Repeat("\x00\x00\x80\x3f", 6))
}

// A pickle of protocol 2, piece by piece.
func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}
func number(n int32) string { return "J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
func numbers(ns ...int32) string {
	s := "("
	for _, n := range ns {
		s += number(n)
	}
	return s + "t"
}
func global(module, name string) string { return "c" + module + "\n" + name + "\n" }

func storageOf(class, key string, elements int32) string {
	return "(" + text("storage") + global("torch", class) + text(key) + text("cpu") + number(elements) + "tQ"
}

func tensorOf(storage string, offset int32, shape, strides string) string {
	return global("torch._utils", "_rebuild_tensor_v2") + "(" + storage + number(offset) + shape + strides + "\x89" +
		global("collections", "OrderedDict") + ")RtR"
}

var six = storageOf("FloatStorage", "0", 6)

func dictOf(keysAndValues ...string) string { return "}(" + strings.Join(keysAndValues, "") + "u" }

func saved(object string) string { return "\x80\x02" + object + "." }

// legacy is a file before PyTorch 1.6; magic is its first pickle.
func legacy(magic, version, facts, object, keys string, storages ...byte) []byte {
	file := ""
	for _, pickle := range []string{magic, version, facts, object, keys} {
		file += saved(pickle)
	}
	return append([]byte(file), storages...)
}

const magic = "\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"

func TestRefuses(t *testing.T) {
	weight := tensorOf(six, 0, numbers(2, 3), numbers(3, 1))
	facts := dictOf(text("little_endian"), "\x88")
	keys := "](" + text("0") + "e"
	ones := append([]byte{6, 0, 0, 0, 0, 0, 0, 0}, strings.Repeat("\x00\x00\x80\x3f", 6)...)
	npyOf := func(shape ...int) string {
		return string(harnesstest.NPYFile(1, harnesstest.NPYHeader("<f4", false, shape), make([]float32, 6)))
	}
	for _, tc := range []struct {
		name string
		file []byte
		err  string
	}{
		{"empty", nil, `neither .npy, .npz, .safetensors, .pt nor .pth: it begins with ""`},
		{"an image", []byte("\x89PNG\r\n\x1a\n and so on"), "neither .npy"},
		{"a tar", append(make([]byte, 257), "ustar\x0000 and so on"...), "a tar archive"},

		{"safetensors: header of exabytes", append([]byte("\xff\xff\xff\xff\xff\xff\xff\x7f"), `{"a":1}`...), "header claims 9223372036854775807 bytes, the file has 7 left"},
		{"safetensors: header a little longer", append([]byte("\x64\x00\x00\x00\x00\x00\x00\x00"), `{"a":1}`...), "header claims 100 bytes, the file has 7 left"},
		{"safetensors: header too large", safetensors("{"+strings.Repeat(" ", 1<<25)+"}", nil), "want at most 33554432"},
		{"safetensors: no object", safetensors("{]", nil), "safetensors header: "},
		{"safetensors: text behind the header", safetensors(`{} {}`, nil), `" {}" stands behind the object`},
		{"safetensors: a key twice", safetensors(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, make([]byte, 8)), `duplicate object member name "w"`},
		{"safetensors: a key twice, escaped", safetensors(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\u0077":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, make([]byte, 8)), "duplicate object member name"},
		{"safetensors: a field twice", safetensors(`{"w":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}`, make([]byte, 4)), "duplicate object member name"},
		{"safetensors: unknown field", safetensors(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}`, make([]byte, 4)), "expected 3 keys"},
		{"safetensors: unknown type", safetensors(`{"w":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}`, make([]byte, 1)), `"F8_E4M3"`},
		{"safetensors: hole", safetensors(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, make([]byte, 8)), `"w": data_offsets [4, 8] leave a hole`},
		{"safetensors: hole between", safetensors(`{"v":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}`, make([]byte, 12)), `"w": data_offsets [8, 12] leave a hole: the tensor before ends at 4`},
		{"safetensors: hole at the end", safetensors(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, make([]byte, 9)), "5 bytes at the end belong to no tensor"},
		{"safetensors: overlap", safetensors(`{"v":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, make([]byte, 8)), `"w": data_offsets [4, 8] overlap the tensor before, which ends at 8`},
		{"safetensors: the same bytes twice", safetensors(`{"v":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, make([]byte, 4)), `"w": data_offsets [0, 4] overlap`},
		{"safetensors: beyond the end", safetensors(`{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, make([]byte, 4)), `"w": data_offsets [0, 8] in 4 bytes of data`},
		{"safetensors: backwards", safetensors(`{"w":{"dtype":"F32","shape":[0],"data_offsets":[4,0]}}`, make([]byte, 4)), `"w": data_offsets [4, 0]`},
		{"safetensors: shape of another size", safetensors(`{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, make([]byte, 4)), `"w": 4 bytes of data, F32 of shape (2,) needs 2 elements of 4 bytes`},
		{"safetensors: a byte too many", safetensors(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,5]}}`, make([]byte, 5)), `"w": 5 bytes of data`},
		{"safetensors: terabytes", safetensors(`{"w":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}`, nil), "in 0 bytes of data"},
		{"safetensors: overflowing shape", safetensors(`{"w":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,0]}}`, nil), "more elements than an int can count"},
		{"safetensors: overflowing bytes", safetensors(`{"w":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}}`, nil), "needs 4611686018427387904 elements"},
		{"safetensors: dimension beyond int64", safetensors(`{"w":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,0]}}`, nil), `"w": `},
		{"safetensors: negative dimension", safetensors(`{"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, make([]byte, 4)), `invalid "shape"`},
		{"safetensors: metadata of numbers", safetensors(`{"__metadata__":{"a":1}}`, nil), "__metadata__"},

		{"npz: a name twice", archive("a.npy", npyOf(6), "a.npy", npyOf(6)), `member "a.npy" stands twice`},
		{"npz: two problems", archive("a.npy", npyOf(5), "b.npy", npyOf(7)), `"a.npy": .npy data has trailing bytes`},
		{"npz: terabytes", archive("a.npy", npyOf(1<<40)), "needs 1099511627776 elements"},
		{"npz: another file", archive("a.npy", npyOf(6), "setup.py", "import os"), `"setup.py": no .npy file`},
		{"npz: objects", archive("a.npy", string(harnesstest.NPYFile(1, harnesstest.NPYHeader("|O", false, []int{1}), []byte(saved(global("os", "system"))+"")))), "descr is '|O'"},
		{"npz: bomb", bomb(t, 300), "take more than 8 times the file's"},
		{"npz: deflated beyond what can be", claiming(t, 1<<40), "which "},
		{"npz: stored in fewer bytes than it has", stored(t, 0), `member "a.npy" is stored in 4 bytes and claims 1000`},
		{"npz: encrypted", stored(t, 1), `member "a.npy" is encrypted`},
		{"npz: members over each other", overlapping(t), "bytes of the file, which has"},

		{"pt: runs a command", pt(saved(global("os", "system") + text("rm -rf /") + "\x85R")), `refused: "os.system"`},
		{"pt: evaluates", pt(saved(dictOf(text("w"), weight, text("x"), global("builtins", "eval")+text("1")+"\x85R"))), `refused: "builtins.eval"`},
		{"pt: evaluates, protocol 4", pt("\x80\x04\x8c\x08builtins\x94\x8c\x04exec\x94\x93."), `refused: "builtins.exec"`},
		{"pt: a class by names from the memo", pt("\x80\x04\x8c\x02os\x94\x8c\x06system\x9400h\x00h\x01\x93."), `refused: "os.system"`},
		{"pt: imports", pt(saved(global("__builtin__", "getattr"))), `refused: "__builtin__.getattr"`},
		{"pt: a class within an allowed module", pt(saved(global("torch", "load"))), `refused: "torch.load"`},
		{"pt: a dotted name", pt("\x80\x04\x8c\x05torch\x8c\x13serialization.os.rm\x93."), `refused: "torch.serialization.os.rm"`},
		{"pt: an instance", pt(saved(global("collections", "OrderedDict") + ")\x81")), `opcode '\u0081' is none that a state dict needs`},
		{"pt: INST", pt(saved("(ios\nsystem\n")), "opcode 'i'"},
		{"pt: EXT1", pt(saved("\x82\x01")), "opcode"},
		{"pt: text persistent id", pt(saved("P0\n")), "opcode 'P'"},
		{"pt: protocol 6", pt("\x80\x06N."), "protocol 6"},
		{"pt: calls a tensor", pt(saved(weight + ")R")), "a tensor is called"},
		{"pt: attributes of a tensor", pt(saved(weight + "}b")), "attributes of a tensor"},
		{"pt: a key twice", pt(saved(dictOf(text("w"), weight, text("w"), weight))), `key "w" stands twice`},
		{"pt: a key twice in an OrderedDict", pt(saved(global("collections", "OrderedDict") + ")R(" + text("w") + weight + text("w") + weight + "u")), `key "w" stands twice`},
		{"pt: a key twice, one by one", pt(saved("}" + text("w") + weight + "s" + text("w") + weight + "s")), `key "w" stands twice`},
		{"pt: a key twice deep inside", pt(saved(dictOf(text("a"), dictOf(number(1), "N", number(1), "N")))), "key 1 stands twice"},
		{"pt: a dict as key", pt(saved(dictOf("}", "N"))), "a dict is the key of a dict"},
		{"pt: a tensor under a number", pt(saved(dictOf(number(1), weight))), "an integer is the key of a tensor"},
		{"pt: odd items", pt(saved("}(" + text("w") + "u")), "1 keys and values for a dict"},
		{"pt: text of exabytes", pt("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f."), "a length of 9223372036854775807"},
		{"pt: bytes of terabytes", pt("\x80\x04\x8e\x00\x00\x00\x00\x00\x01\x00\x00."), "a length of 1099511627776"},
		{"pt: frame of exabytes", pt("\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN."), "a length of 9223372036854775807"},
		{"pt: negative length", pt(saved("T\xff\xff\xff\xff")), "a length of 4294967295"},
		{"pt: millions of lists", pt(saved(strings.Repeat("]", 1<<20+1))), "more than 1048576 objects"},
		{"pt: millions of memos", pt(saved("N" + strings.Repeat("\x94", 1<<20+1))), "more than 1048576 objects"},
		{"pt: stack underflow", pt(saved("0")), "the stack is empty"},
		{"pt: pops a mark", pt(saved("NN(0")), "the stack is empty"},
		{"pt: no mark", pt(saved("t")), "no mark"},
		{"pt: tuple across a mark", pt(saved("NNN(N\x87")), "the stack is empty"},
		{"pt: unknown memo", pt(saved("h\x07")), "nothing is at 7 of the memo"},
		{"pt: no end", pt("\x80\x02N"), "1 bytes are wanted, 0 are left"},
		{"pt: bytes behind the pickle", pt(saved(dictOf(text("w"), weight)) + "N."), "2 bytes stand behind the pickle"},
		{"pt: class without an end", pt(saved("cos")), "the name of a class has no end"},
		{"pt: list that holds itself", pt(saved("]q\x00h\x00a")), "a list was saved, want a state dict"},
		{"pt: two state dicts", pt(saved(dictOf(text("model"), dictOf(text("w"), weight), text("state_dict"), dictOf(text("w"), weight)))), "ambiguous: state_dict and model"},
		{"pt: tensors somewhere", pt(saved(dictOf(text("net"), dictOf(text("w"), weight)))), `no tensor stands at the top or under state_dict, model_state_dict, model; the file has "net"`},

		{"pt: view beyond the storage", pt(saved(dictOf(text("w"), tensorOf(six, 0, numbers(7), numbers(1))))), "shape (7,) with offset 0 and strides (1,) reaches beyond a storage of 6 elements"},
		{"pt: offset beyond the storage", pt(saved(dictOf(text("w"), tensorOf(six, 1, numbers(2, 3), numbers(3, 1))))), "reaches beyond a storage of 6"},
		{"pt: strides beyond the storage", pt(saved(dictOf(text("w"), tensorOf(six, 0, numbers(2, 3), numbers(4, 1))))), "reaches beyond a storage of 6"},
		{"pt: overflowing strides", pt(saved(dictOf(text("w"), tensorOf(six, 0, "(\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x10t", "(\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x10t")))), "reaches beyond a storage of 6"},
		{"pt: negative offset", pt(saved(dictOf(text("w"), tensorOf(six, -1, numbers(1), numbers(1))))), "negative"},
		{"pt: negative offset, a long", pt(saved(dictOf(text("w"), global("torch._utils", "_rebuild_tensor_v2")+"("+six+"\x8a\x02\xff\xff"+numbers(1)+numbers(1)+"\x89NtR"))), "offset -1"},
		{"pt: untyped, beyond the storage", pt(saved(dictOf(text("w"), global("torch._utils", "_rebuild_tensor_v3")+"("+storageOf("UntypedStorage", "0", 24)+number(0)+numbers(13)+numbers(1)+"\x89N"+global("torch", "uint16")+"tR"))), "beyond a storage of 12 elements"},
		{"pt: typed twice", pt(saved(dictOf(text("w"), global("torch._utils", "_rebuild_tensor_v3")+"("+six+number(0)+numbers(6)+numbers(1)+"\x89N"+global("torch", "float32")+"tR"))), "a tensor: other arguments"},
		{"pt: negative stride", pt(saved(dictOf(text("w"), tensorOf(six, 5, numbers(6), numbers(-1))))), "negative"},
		{"pt: negative dimension", pt(saved(dictOf(text("w"), tensorOf(six, 0, numbers(-1), numbers(1))))), "negative dimension"},
		{"pt: other strides than dimensions", pt(saved(dictOf(text("w"), tensorOf(six, 0, numbers(2, 3), numbers(1))))), "shape (2, 3) has other dimensions than strides (1,)"},
		{"pt: a hundred dimensions, again and again", pt(saved(dimensions(100, 1000))), "a tensor: other arguments"},
		{"pt: a name that clears the screen", pt(saved(dictOf(text("\x1b[2J"), weight))), `"\x1b[2J": a name that cannot be printed`},
		{"pt: a name that is no text", pt(saved(dictOf(text("\xff"), weight))), "a name that cannot be printed"},
		{"pt: terabytes of one number", pt(saved(dictOf(text("w"), tensorOf(six, 0, "(\x8a\x06\x00\x00\x00\x00\x00\x01t", numbers(0))))), "the tensors take more than 8 times the file's"},
		{"pt: one storage, ten thousand times", pt(saved(repeated(10000))), "the tensors take more than 8 times the file's"},
		{"pt: storage of another length", pt(saved(dictOf(text("w"), tensorOf(storageOf("FloatStorage", "0", 7), 0, numbers(7), numbers(1))))), `"m/data/0" has 24 bytes, the pickle claims 7 elements of 4`},
		{"pt: storage of another type", pt(saved(dictOf(text("w"), tensorOf(storageOf("DoubleStorage", "0", 6), 0, numbers(6), numbers(1))))), "claims 6 elements of 8"},
		{"pt: storage that is not there", pt(saved(dictOf(text("w"), tensorOf(storageOf("FloatStorage", "../0", 6), 0, numbers(6), numbers(1))))), `the archive has no "m/data/../0"`},
		{"pt: negative storage", pt(saved(dictOf(text("w"), tensorOf(storageOf("FloatStorage", "0", -1), 0, numbers(0), numbers(1))))), "a storage: other arguments"},
		{"pt: complex numbers", pt(saved(dictOf(text("w"), tensorOf(storageOf("ComplexFloatStorage", "0", 3), 0, numbers(3), numbers(1))))), `refused: "torch.ComplexFloatStorage"`},
		{"pt: no storage at all", pt(saved("(" + text("module") + "NNNNtQ")), "no storage"},
		{"pt: big endian", archive("m/data.pkl", saved(dictOf(text("w"), weight)), "m/byteorder", "big", "m/data/0", strings.Repeat("\x3f\x80\x00\x00", 6)), `byteorder is "big", want "little"`},
		{"pt: TorchScript", archive("m/data.pkl", saved("N"), "m/constants.pkl", saved(")")), "a TorchScript archive"},
		{"pt: a pickle of 33 MiB", pt(saved(strings.Repeat("N0", 33<<19))), "data.pkl has 34603011 bytes, want at most 33554432"},
		{"pt: a member twice", archive("m/data.pkl", saved("N"), "m/data/0", "abcd", "m/data/0", "efgh"), `member "m/data/0" stands twice`},

		{"legacy: other number", legacy("K\x07", number(1001), facts, dictOf(text("w"), weight), keys, ones...), "magic number"},
		{"legacy: other large number", legacy("\x8a\x0am\xfc\x9cF\xf9 j\xa8P\x19", number(1001), facts, dictOf(text("w"), weight), keys, ones...), "magic number"},
		{"legacy: runs a command as its number", legacy(global("posix", "system")+text("id")+"\x85R", number(1001), facts, "N", "]"), `refused: "posix.system"`},
		{"legacy: other version", legacy(magic, number(1002), facts, dictOf(text("w"), weight), keys, ones...), "not 1001"},
		{"legacy: big endian", legacy(magic, number(1001), dictOf(text("little_endian"), "\x89"), dictOf(text("w"), weight), keys, ones...), "little_endian is not True"},
		{"legacy: runs a command", legacy(magic, number(1001), facts, global("posix", "system")+text("id")+"\x85R", keys, ones...), `refused: "posix.system"`},
		{"legacy: no storage", legacy(magic, number(1001), facts, dictOf(text("w"), weight), "]", ones...), "the list of storages"},
		{"legacy: unknown storage", legacy(magic, number(1001), facts, dictOf(text("w"), weight), "]("+text("1")+"e", ones...), `storage "1" is not in the pickle`},
		{"legacy: storage of another length", legacy(magic, number(1001), facts, dictOf(text("w"), weight), keys, append([]byte{7}, ones[1:]...)...), "7 elements, the pickle claims 6"},
		{"legacy: storage cut off", legacy(magic, number(1001), facts, dictOf(text("w"), weight), keys, ones[:20]...), "the file has 12 bytes left"},
		{"legacy: bytes behind the storages", legacy(magic, number(1001), facts, dictOf(text("w"), weight), keys, append(ones, 0)...), "1 bytes stand behind the last storage"},
		{"legacy: one key, two types", legacy(magic, number(1001), facts, dictOf(text("w"), weight, text("v"), tensorOf(storageOf("IntStorage", "0", 6), 0, numbers(6), numbers(1))), keys, ones...), `storage "0" is 6 of float32 and 6 of int32`},
		{"legacy: a view of a storage", legacy(magic, number(1001), facts, dictOf(text("w"), tensorOf(strings.Replace(six, "tQ", "("+text("1")+number(0)+number(6)+"ttQ", 1), 0, numbers(6), numbers(1))), keys, ones...), "a view of a storage"},
		{"legacy: storage of petabytes", legacy(magic, number(1001), facts, dictOf(text("w"), tensorOf(storageOf("FloatStorage", "0", 1<<30), 0, numbers(6), numbers(1))), keys, append([]byte{0, 0, 0, 0x40}, ones[4:]...)...), "the file has 24 bytes left"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if testing.Short() && strings.Contains(tc.name, "millions") {
				t.Skip("they take long with the race detector")
			}
			allocated := allocatedBy(func() {
				_, err := readAll(tc.file)
				require.ErrorContains(t, err, tc.err)
			})
			require.Less(t, allocated, uint64(len(tc.file))*120+1<<20)
		})
	}
}

// What is built above is right but for the one thing that is wrong.
func TestTheSameFilesUnspoiled(t *testing.T) {
	weight := tensorOf(six, 0, numbers(2, 3), numbers(3, 1))
	for name, file := range map[string][]byte{
		"pt":      pt(saved(dictOf(text("w"), weight))),
		"ordered": pt(saved(global("collections", "OrderedDict") + ")R(" + text("w") + weight + "u}" + text("_metadata") + "Nsb")),
		"legacy": legacy(magic, number(1001), dictOf(text("little_endian"), "\x88"), dictOf(text("w"), weight), "]("+text("0")+"e",
			append([]byte{6, 0, 0, 0, 0, 0, 0, 0}, strings.Repeat("\x00\x00\x80\x3f", 6)...)...),
	} {
		f, err := readAll(file)
		require.NoError(t, err, name)
		values, err := f.Tensor("w").Float64s()
		require.NoError(t, err)
		require.Equal(t, []float64{1, 1, 1, 1, 1, 1}, values, name)
	}
}

// The length before a header may begin as a pickle, an archive or an array does.
func TestHeadersOfAnyLength(t *testing.T) {
	header := `{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`
	for _, length := range []int{0x80, 0x93, 0x180, 0x4b50} {
		file := safetensors(header+strings.Repeat(" ", length-len(header)), []byte{0, 0, 0x80, 0x3f})
		f, err := readAll(file)
		require.NoError(t, err, "%#x", length)
		require.Equal(t, checkpoint.Safetensors, f.Format)
	}
}

// allocatedBy counts the bytes that a function allocates.
func allocatedBy(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// repeated is a state dict of n tensors, each a hundred thousand times the same six numbers.
func repeated(n int) string {
	items := make([]string, 0, 2*n)
	for i := range n {
		items = append(items, text(fmt.Sprint(i)), tensorOf(six, 0, numbers(100000, 6), numbers(0, 1)))
	}
	return dictOf(items...)
}

// dimensions is a state dict of tensors that share a shape of n ones.
func dimensions(n, tensors int) string {
	ones := strings.Repeat("K\x01", n)
	items := []string{text("shape"), "(" + ones + "tq\x07"}
	for i := range tensors {
		items = append(items, text(fmt.Sprint(i)), tensorOf(six, 0, "h\x07", "h\x07"))
	}
	return dictOf(items...)
}

// bomb is an .npz whose one array is n MiB of zeros: a compressed MiB, again and again.
func bomb(t *testing.T, n int) []byte {
	t.Helper()
	var compressed bytes.Buffer
	w, err := flate.NewWriter(&compressed, flate.BestCompression)
	require.NoError(t, err)
	header := harnesstest.NPYFile(1, harnesstest.NPYHeader("|u1", false, []int{n << 20}), []byte{})
	_, err = w.Write(header)
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	start := compressed.Len()
	_, err = w.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	data := append(compressed.Bytes(), bytes.Repeat(compressed.Bytes()[start:], n-1)...)
	return raw(t, func(w *zip.Writer) {
		f, err := w.CreateRaw(&zip.FileHeader{
			Name: "a.npy", Method: zip.Deflate, CompressedSize64: uint64(len(data)), UncompressedSize64: uint64(len(header) + n<<20),
		})
		require.NoError(t, err)
		_, err = f.Write(data)
		require.NoError(t, err)
	})
}

// claiming is an .npz whose directory claims more bytes than its member can have.
func claiming(t *testing.T, n uint64) []byte {
	t.Helper()
	return raw(t, func(w *zip.Writer) {
		writeRaw(t, w, &zip.FileHeader{Name: "a.npy", Method: zip.Deflate, CompressedSize64: 4, UncompressedSize64: n})
	})
}

// stored is an .npz whose member claims more bytes than it is stored in; flags are the member's.
func stored(t *testing.T, flags uint16) []byte {
	t.Helper()
	return raw(t, func(w *zip.Writer) {
		writeRaw(t, w, &zip.FileHeader{Name: "a.npy", Method: zip.Store, Flags: flags, CompressedSize64: 4, UncompressedSize64: 1000})
	})
}

// overlapping is an archive of two members that claim more of the file than there is.
func overlapping(t *testing.T) []byte {
	t.Helper()
	return raw(t, func(w *zip.Writer) {
		for _, name := range []string{"a.npy", "b.npy"} {
			writeRaw(t, w, &zip.FileHeader{Name: name, Method: zip.Store, CompressedSize64: 150, UncompressedSize64: 150})
		}
	})
}

func raw(t *testing.T, fill func(*zip.Writer)) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	fill(w)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func writeRaw(t *testing.T, w *zip.Writer, h *zip.FileHeader) {
	t.Helper()
	f, err := w.CreateRaw(h)
	require.NoError(t, err)
	_, err = f.Write([]byte{0x4b, 0x4c, 0x04, 0x00})
	require.NoError(t, err)
}

func FuzzNew(f *testing.F) {
	for _, name := range []string{"layer.pt", "layer-legacy.pt", "layer.safetensors", "layer-compressed.npz", "arrays.npz", "array.npy", "views.pt", "nested.pt", "dtypes.pt", "dtypes.safetensors"} {
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

// FuzzPickle puts pickles into sound archives, which mutated bytes alone hardly ever are.
func FuzzPickle(f *testing.F) {
	weight := tensorOf(six, 0, numbers(2, 3), numbers(3, 1))
	f.Add([]byte(saved(dictOf(text("w"), weight))))
	f.Add([]byte(saved(global("collections", "OrderedDict") + ")R(" + text("w") + weight + "u}b")))
	f.Add([]byte("\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01w\x94]\x94\x8c\x05torch\x94\x8c\x04Size\x94\x93s."))
	f.Add([]byte(saved(dictOf(text("w"), tensorOf(six, 1, numbers(2, 2), numbers(0, 2))))))
	f.Fuzz(func(t *testing.T, pickle []byte) {
		file, err := readAll(pt(string(pickle)))
		if err != nil {
			return
		}
		for _, tensor := range file.Tensors {
			if values, err := tensor.Float64s(); err != nil || size(tensor.Shape) != len(values) {
				t.Fatalf("%q of shape %v: %d values, %v", tensor.Name, tensor.Shape, len(values), err)
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
