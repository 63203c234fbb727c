package checkpoint_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/checkpoint"
)

// safetensors returns a file with a header and data.
func safetensors(header string, data []byte) []byte {
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
}

// entry returns the entry of one tensor in a header. shape is a list such as "2,3".
func entry(name, dtype, shape string, from, to int) string {
	return fmt.Sprintf(`%q:{"dtype":%q,"shape":[%s],"data_offsets":[%d,%d]}`, name, dtype, shape, from, to)
}

func header(entries ...string) string { return "{" + strings.Join(entries, ",") + "}" }

func TestSafetensorsRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, header string
		bytes        int // of zeros, the data
		err          string
	}{
		{"no object", "{]", 0, "safetensors header: "},
		{"text behind the header", `{} {}`, 0, `" {}" stands behind the object`},
		{
			"a key twice", header(entry("w", "F32", "1", 0, 4), entry("w", "F32", "1", 4, 8)), 8,
			`duplicate object member name "w"`,
		},
		{
			"a key twice, escaped",
			header(entry("w", "F32", "1", 0, 4), strings.Replace(entry("w", "F32", "1", 4, 8), "w", `\u0077`, 1)), 8,
			`duplicate object member name "w"`,
		},
		{
			"a field twice", `{"w":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}`, 4,
			`duplicate object member name "dtype"`,
		},
		{
			"unknown field", `{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}`, 4,
			"x: unknown field",
		},
		{
			"missing field", `{"w":{"dtype":"F32","data_offsets":[0,4]}}`, 4,
			`"w": want a dtype, a shape and data_offsets`,
		},
		{"unknown type", header(entry("w", "F7", "1", 0, 1)), 1, `dtype "F7" is unknown`},
		{
			"half a byte", header(entry("w", "F4", "3", 0, 2)), 2,
			"float4_e2m1fn of shape (3,) needs 3 elements of 4 bits",
		},
		{"hole", header(entry("w", "F32", "1", 4, 8)), 8, `"w": data_offsets [4, 8] leave a hole`},
		{
			"hole between", header(entry("v", "F32", "1", 0, 4), entry("w", "F32", "1", 8, 12)), 12,
			`"w": data_offsets [8, 12] leave a hole: the tensor before ends at 4`,
		},
		{"hole at the end", header(entry("w", "F32", "1", 0, 4)), 9, "5 bytes at the end belong to no tensor"},
		{
			"overlap", header(entry("v", "F32", "2", 0, 8), entry("w", "F32", "1", 4, 8)), 8,
			`"w": data_offsets [4, 8] overlap the tensor before, which ends at 8`,
		},
		{
			"the same bytes twice", header(entry("v", "F32", "1", 0, 4), entry("w", "F32", "1", 0, 4)), 4,
			`"w": data_offsets [0, 4] overlap`,
		},
		{"beyond the end", header(entry("w", "F32", "2", 0, 8)), 4, `"w": data_offsets [0, 8] in 4 bytes of data`},
		{"backwards", header(entry("w", "F32", "0", 4, 0)), 4, `"w": data_offsets [4, 0]`},
		{
			"shape of another size", header(entry("w", "F32", "2", 0, 4)), 4,
			`"w": 4 bytes of data, float32 of shape (2,) needs 2 elements of 32 bits`,
		},
		{"a byte too many", header(entry("w", "F32", "1", 0, 5)), 5, `"w": 5 bytes of data`},
		{"terabytes", header(entry("w", "F32", "1099511627776", 0, 4398046511104)), 0, "in 0 bytes of data"},
		{
			"overflowing shape", header(entry("w", "F32", "4294967296,4294967296,4294967296", 0, 0)), 0,
			"more elements than an int can count",
		},
		{
			"overflowing bytes", header(entry("w", "F32", "4611686018427387904", 0, 0)), 0,
			"needs 4611686018427387904 elements",
		},
		{"dimension beyond int64", header(entry("w", "F32", "18446744073709551615", 0, 0)), 0, `"w": `},
		{"negative dimension", header(entry("w", "F32", "-1", 0, 4)), 4, "shape.0: a number, want an integer, not negative"},
		{"metadata of numbers", `{"__metadata__":{"a":1}}`, 0, "__metadata__"},
	} {
		refusal{tc.name, safetensors(tc.header, make([]byte, tc.bytes)), tc.err}.run(t)
	}
	for _, tc := range []refusal{
		{
			"header of exabytes", append([]byte("\xff\xff\xff\xff\xff\xff\xff\x7f"), `{"a":1}`...),
			"header claims 9223372036854775807 bytes, the file has 7 left",
		},
		{
			"header a little longer", append([]byte("\x64\x00\x00\x00\x00\x00\x00\x00"), `{"a":1}`...),
			"header claims 100 bytes, the file has 7 left",
		},
		{"header too large", safetensors("{"+strings.Repeat(" ", 1<<25)+"}", nil), "want at most 33554432"},
	} {
		tc.run(t)
	}
}

// The length before a header may look like the beginning of a pickle, an archive or an array.
func TestHeadersOfAnyLength(t *testing.T) {
	header := header(entry("w", "F32", "1", 0, 4))
	for _, length := range []int{0x80, 0x93, 0x180, 0x4b50} {
		file := safetensors(header+strings.Repeat(" ", length-len(header)), []byte{0, 0, 0x80, 0x3f})
		f, err := readAll(file)
		require.NoError(t, err, "%#x", length)
		require.Equal(t, checkpoint.Safetensors, f.Format)
	}
}
