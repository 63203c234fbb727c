package checkpoint_test

import (
	"strings"
	"testing"
)

// legacy returns a file in the format before PyTorch 1.6. A right one begins with magic.
func legacy(magic, version, facts, object, keys string, storages ...byte) []byte {
	file := ""
	for _, pickle := range []string{magic, version, facts, object, keys} {
		file += saved(pickle)
	}
	return append([]byte(file), storages...)
}

const magic = "\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"

func TestLegacyRefuses(t *testing.T) {
	weight := tensorOf(six, 0, numbers(2, 3), numbers(3, 1))
	facts := dictOf(text("little_endian"), "\x88")
	keys := "](" + text("0") + "e"
	ones := append([]byte{6, 0, 0, 0, 0, 0, 0, 0}, strings.Repeat("\x00\x00\x80\x3f", 6)...)
	ints := tensorOf(storageOf("IntStorage", "0", 6), 0, numbers(6), numbers(1))
	ofView := strings.Replace(six, "tQ", "("+text("1")+number(0)+number(6)+"ttQ", 1)
	for _, tc := range []refusal{
		{
			"other number", legacy("K\x07", number(1001), facts, dictOf(text("w"), weight), keys, ones...),
			"magic number",
		},
		{
			"other large number",
			legacy("\x8a\x0am\xfc\x9cF\xf9 j\xa8P\x19", number(1001), facts, dictOf(text("w"), weight), keys, ones...),
			"magic number",
		},
		{
			"runs a command as its number",
			legacy(global("posix", "system")+text("id")+"\x85R", number(1001), facts, "N", "]"),
			`refused: "posix.system"`,
		},
		{"other version", legacy(magic, number(1002), facts, dictOf(text("w"), weight), keys, ones...), "not 1001"},
		{
			"big endian",
			legacy(
				magic, number(1001), dictOf(text("little_endian"), "\x89"), dictOf(text("w"), weight), keys,
				ones...,
			),
			"little_endian is not True",
		},
		{
			"runs a command",
			legacy(magic, number(1001), facts, global("posix", "system")+text("id")+"\x85R", keys, ones...),
			`refused: "posix.system"`,
		},
		{
			"no storage", legacy(magic, number(1001), facts, dictOf(text("w"), weight), "]", ones...),
			"the list of storages",
		},
		{
			"unknown storage",
			legacy(magic, number(1001), facts, dictOf(text("w"), weight), "]("+text("1")+"e", ones...),
			`storage "1" is not in the pickle`,
		},
		{
			"storage of another length",
			legacy(magic, number(1001), facts, dictOf(text("w"), weight), keys, append([]byte{7}, ones[1:]...)...),
			"7 elements, the pickle claims 6",
		},
		{
			"storage cut off", legacy(magic, number(1001), facts, dictOf(text("w"), weight), keys, ones[:20]...),
			"the file has 12 bytes left",
		},
		{
			"bytes behind the storages",
			legacy(magic, number(1001), facts, dictOf(text("w"), weight), keys, append(ones, 0)...),
			"1 bytes stand behind the last storage",
		},
		{
			"one key, two types",
			legacy(
				magic, number(1001), facts,
				dictOf(text("w"), weight, text("v"), ints),
				keys, ones...,
			),
			`storage "0" has 6 elements of float32, and also 6 of int32`,
		},
		{
			"a view of a storage",
			legacy(
				magic, number(1001), facts,
				dictOf(text("w"), tensorOf(ofView, 0, numbers(6), numbers(1))),
				keys, ones...,
			),
			"a view of a storage",
		},
		{
			"storage of petabytes",
			legacy(
				magic, number(1001), facts,
				dictOf(text("w"), tensorOf(storageOf("FloatStorage", "0", 1<<30), 0, numbers(6), numbers(1))),
				keys, append([]byte{0, 0, 0, 0x40}, ones[4:]...)...,
			),
			"the file has 24 bytes left",
		},
	} {
		tc.run(t)
	}
}
