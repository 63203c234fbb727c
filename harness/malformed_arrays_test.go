package harness_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/difftest/difftest/harness/internal/harnesstest"
)

// malformedArrays damages .npy files.
func malformedArrays() []malformed {
	good := harnesstest.NPYFile(1, harnesstest.NPYHeader("<f4", false, []int{3, 4}), make([]float32, 12))
	all := prefixes("npy", parseArray, good)
	all = append(all, prefixes("npy", weights, good)...)
	all = append(all, flips("npy", parseArray, good[:100], 1)...)
	add := func(name string, file []byte) {
		for _, read := range []func([]byte) error{parseArray, weights} {
			all = append(all, malformed{"npy: " + name, read, file, true})
		}
	}
	for _, more := range []int{1, 3, 4, 4096} {
		add(fmt.Sprintf("%d bytes behind", more), append(bytes.Clone(good), make([]byte, more)...))
	}
	for _, shape := range []string{
		"(-1,)", "(-3,-4)", "(4611686018427387904,4)", "(9223372036854775807,)", "(9223372036854775808,)",
		"(1099511627776,)",
		"(65536,65536,65536,65536)", "(0,9223372036854775807,9223372036854775807)", "(1.5,)", "(3 4)", "(3,,4)",
		"[3,4]", "12",
		"(0x3,4)", "(" + strings.Repeat("9", 3000) + ",)", "None", "(3,4", "('3',)", "(3,4,0)", "(3,4,2)", "()",
	} {
		add("shape "+shape, npyText("{'descr': '<f4', 'fortran_order': False, 'shape': "+shape+", }\n"))
	}
	for _, descr := range []string{
		"'|O'", "'<U4'", "'|S4'", "'|V4'", "'<M8[s]'", "'<c8'", "'<f16'", "'<f3'", "'f4'", "'=f4'", "''", "'<'",
		"[('a', '<f4')]",
		"[('a', '<f4', (3,))]", "None", "('<f4', (2,))", "'<f4", "'|f4'", "'<b1'", "'<i16'", "'\x1b[2J'",
	} {
		add("descr "+descr, npyText("{'descr': "+descr+", 'fortran_order': False, 'shape': (3, 4), }\n"))
	}
	for _, text := range []string{
		"", "\n", "{}\n", "{'descr': '<f4'}\n", "{'descr': '<f4', 'fortran_order': 1, 'shape': (3, 4)}\n",
		"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)}\n",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), 'more': 1}\n",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)}", "__import__('os').system('true')\n",
		"{'descr': '<f4',\n'fortran_order': False, 'shape': (3, 4)}\n", strings.Repeat("{", 4000) + "\n",
		strings.Repeat(" ", 5000) + "\n",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }\n" + strings.Repeat("\x00", 99),
	} {
		add(fmt.Sprintf("header %.40q", text), npyText(text))
	}
	for version := range 256 {
		if version < 1 || version > 3 {
			file := bytes.Clone(good)
			file[6] = byte(version)
			add(fmt.Sprintf("version %d", version), file)
		}
	}
	for _, b := range []byte{2, 3, 127, 128, 254, 255} {
		header := harnesstest.NPYHeader("|b1", false, []int{2})
		add(fmt.Sprintf("a bool of %d", b), harnesstest.NPYFile(1, header, []byte{1, b}))
	}
	return all
}

// npyText is a .npy file of 48 bytes with another header.
func npyText(text string) []byte { return harnesstest.NPYFile(2, text, make([]byte, 48)) }

// malformedSafetensors damages .safetensors files.
func malformedSafetensors() []malformed {
	good := safetensors(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},`+
		`"b":{"dtype":"BOOL","shape":[2],"data_offsets":[8,10]}}`, make([]byte, 10))
	all := prefixes("safetensors", weights, good)
	all = append(all, flips("safetensors", weights, good, 1)...)
	add := func(name string, file []byte) {
		all = append(all, malformed{"safetensors: " + name, weights, file, true})
	}
	for _, length := range []uint64{0, 1, 2, 7, 1 << 24, 1<<25 + 1, 1 << 31, 1 << 32, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		claim := binary.LittleEndian.AppendUint64(nil, length)
		add(fmt.Sprintf("a header of %d bytes", length), append(claim, good[8:]...))
	}
	entry := func(dtype, shape, offsets string) string {
		return fmt.Sprintf(`{"a":{"dtype":%s,"shape":%s,"data_offsets":%s}}`, dtype, shape, offsets)
	}
	for _, offsets := range []string{
		"[0,7]", "[1,9]", "[4,12]", "[8,0]", "[-8,0]", "[0]", "[0,8,16]", "[]", "null", `"0,8"`, "[0.5,8.5]",
		"[0,1e300]",
		"[0,18446744073709551616]", "[0,9223372036854775808]", "[18446744073709551608,0]", "[0,null]", "[true,8]", "{}",
	} {
		add("offsets "+offsets, safetensors(entry(`"F32"`, "[2]", offsets), make([]byte, 8)))
	}
	for _, shape := range []string{
		"[-2]", "[3]", "[1]", "[2,0]", "[]", "[9223372036854775807,2]", "[4294967296,4294967296]", "[2.5]", `["2"]`,
		"null", "2",
		"[[2]]", "[2,null]", "[" + strings.Repeat("1,", 100000) + "3]",
	} {
		add(fmt.Sprintf("shape %.40s", shape), safetensors(entry(`"F32"`, shape, "[0,8]"), make([]byte, 8)))
	}
	for _, dtype := range []string{`"F31"`, `""`, "null", "3", `"f32"`, `"OBJECT"`, `"\u001b[2J"`, `["F32"]`} {
		add("dtype "+dtype, safetensors(entry(dtype, "[2]", "[0,8]"), make([]byte, 8)))
	}
	for _, header := range []string{
		"", "[]", "null", "1", "{", "{}}", `{"a":1}`, `{"a":null}`, `{"a":[]}`, `{"a":{}}`, "{'a':1}",
		`{"a":{"dtype":"F32"}}`,
		strings.Repeat("[", 100000), strings.Repeat(`{"a":`, 100000), "\xff\xfe", `{"__metadata__":{"a":1}}`,
		`{"__metadata__":[]}`,
		`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`,
		`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`,
		`{"\u001b[2Jok":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`,
		`{"\u202e":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`,
		`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1}}`,
		`{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}`,
	} {
		add(fmt.Sprintf("header %.60q", header), safetensors(header, make([]byte, 8)))
	}
	for _, b := range []byte{2, 255} {
		add(fmt.Sprintf("a bool of %d", b), safetensors(entry(`"BOOL"`, "[2]", "[0,2]"), []byte{1, b}))
	}
	many := map[string]any{}
	for i := range 100000 {
		many[fmt.Sprint("t", i)] = map[string]any{"dtype": "U8", "shape": []int{0}, "data_offsets": []int{0, 0}}
	}
	header, _ := json.Marshal(many)
	empty := safetensors(string(header), nil)
	return append(all, malformed{"safetensors: 100,000 tensors without elements", weights, empty, false})
}

// safetensors is a file of a header and data.
func safetensors(header string, data []byte) []byte {
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
}
