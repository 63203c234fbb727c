package checkpoint_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
)

// pt returns an archive of torch.save with one storage of six float32.
func pt(pickle string) []byte {
	return archive(
		"m/data.pkl", pickle, "m/byteorder", "little", "m/version", "3\n",
		"m/data/0", strings.Repeat("\x00\x00\x80\x3f", 6),
	)
}

func storageOf(class, key string, elements int32) string {
	return "(" + text("storage") + global("torch", class) + text(key) + text("cpu") + number(elements) + "tQ"
}

func tensorOf(storage string, offset int32, shape, strides string) string {
	return global("torch._utils", "_rebuild_tensor_v2") + "(" + storage + number(offset) + shape + strides + "\x89" +
		global("collections", "OrderedDict") + ")RtR"
}

// withMetadata gives a tensor of tensorOf metadata, the seventh argument.
func withMetadata(tensor, metadata string) string {
	return strings.TrimSuffix(tensor, "tR") + metadata + "tR"
}

// typedTensorOf is a tensor of n elements in an untyped storage.
func typedTensorOf(storage string, n int32, dtype string) string {
	return global("torch._utils", "_rebuild_tensor_v3") + "(" + storage + number(0) + numbers(n) + numbers(1) +
		"\x89N" + global("torch", dtype) + "tR"
}

// six is the storage of the archives that pt makes.
var six = storageOf("FloatStorage", "0", 6)

func TestPyTorchRefuses(t *testing.T) {
	campaign.SkipShort(t)
	weight := tensorOf(six, 0, numbers(2, 3), numbers(3, 1))
	const huge = "(\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x10t" // the tuple (1 << 60,)
	for _, tc := range []struct{ name, object, err string }{
		{"a tensor under a number", dictOf(number(1), weight), "an integer is the key of a tensor"},
		{"list that holds itself", "]q\x00h\x00a", "a list was saved, want a state dict"},
		{
			"two state dicts",
			dictOf(text("model"), dictOf(text("w"), weight), text("state_dict"), dictOf(text("w"), weight)),
			"ambiguous: state_dict and model",
		},
		{
			"tensors somewhere", dictOf(text("net"), dictOf(text("w"), weight)),
			`no tensor stands at the top or under state_dict, model_state_dict, model; the file has "net"`,
		},
		{
			"view beyond the storage", dictOf(text("w"), tensorOf(six, 0, numbers(7), numbers(1))),
			"shape (7,) with offset 0 and strides (1,) reaches beyond a storage of 6 elements",
		},
		{
			"offset beyond the storage", dictOf(text("w"), tensorOf(six, 1, numbers(2, 3), numbers(3, 1))),
			"reaches beyond a storage of 6",
		},
		{
			"strides beyond the storage", dictOf(text("w"), tensorOf(six, 0, numbers(2, 3), numbers(4, 1))),
			"reaches beyond a storage of 6",
		},
		{
			"overflowing strides",
			dictOf(text("w"), tensorOf(six, 0, huge, huge)),
			"reaches beyond a storage of 6",
		},
		{"negative offset", dictOf(text("w"), tensorOf(six, -1, numbers(1), numbers(1))), "negative"},
		{
			"negative offset, a long",
			dictOf(
				text("w"),
				global("torch._utils", "_rebuild_tensor_v2")+"("+six+"\x8a\x02\xff\xff"+numbers(1)+numbers(1)+"\x89NtR",
			),
			"offset -1",
		},
		{
			"untyped, beyond the storage",
			dictOf(text("w"), typedTensorOf(storageOf("UntypedStorage", "0", 24), 13, "uint16")),
			"beyond a storage of 12 elements",
		},
		{
			"typed twice",
			dictOf(text("w"), typedTensorOf(six, 6, "float32")),
			"a tensor: arguments that PyTorch does not write",
		},
		{"negative stride", dictOf(text("w"), tensorOf(six, 5, numbers(6), numbers(-1))), "negative"},
		{"negative dimension", dictOf(text("w"), tensorOf(six, 0, numbers(-1), numbers(1))), "negative dimension"},
		{
			"other strides than dimensions", dictOf(text("w"), tensorOf(six, 0, numbers(2, 3), numbers(1))),
			"shape (2, 3) has other dimensions than strides (1,)",
		},
		{
			"a hundred dimensions, again and again", dimensions(100, 1000),
			"a tensor: arguments that PyTorch does not write",
		},
		{
			"a name that clears the screen", dictOf(text("\x1b[2J"), weight),
			`"\x1b[2J": a name that cannot be printed`,
		},
		{"a name that is no text", dictOf(text("\xff"), weight), "a name that cannot be printed"},
		{
			"terabytes of one number",
			dictOf(text("w"), tensorOf(six, 0, "(\x8a\x06\x00\x00\x00\x00\x00\x01t", numbers(0))),
			"the tensors take more than 8 times the file's",
		},
		{"one storage, ten thousand times", repeated(10000), "the tensors take more than 8 times the file's"},
		{
			"storage of another length",
			dictOf(text("w"), tensorOf(storageOf("FloatStorage", "0", 7), 0, numbers(7), numbers(1))),
			`"m/data/0" has 24 bytes, the pickle claims 7 elements of 4`,
		},
		{
			"storage of another type",
			dictOf(text("w"), tensorOf(storageOf("DoubleStorage", "0", 6), 0, numbers(6), numbers(1))),
			"claims 6 elements of 8",
		},
		{
			"storage that is not there",
			dictOf(text("w"), tensorOf(storageOf("FloatStorage", "../0", 6), 0, numbers(6), numbers(1))),
			`the archive has no "m/data/../0"`,
		},
		{
			"negative storage",
			dictOf(text("w"), tensorOf(storageOf("FloatStorage", "0", -1), 0, numbers(0), numbers(1))),
			"a storage: arguments that PyTorch does not write",
		},
		{
			"complex storage of another length",
			dictOf(text("w"), tensorOf(storageOf("ComplexFloatStorage", "0", 2), 0, numbers(2), numbers(1))),
			`"m/data/0" has 24 bytes, the pickle claims 2 elements of 8`,
		},
		{
			"quantized numbers",
			dictOf(text("w"), tensorOf(storageOf("QInt8Storage", "0", 3), 0, numbers(3), numbers(1))),
			`refused: "torch.QInt8Storage"`,
		},
		{
			"metadata that is no dict", dictOf(text("w"), withMetadata(weight, number(1))),
			"the metadata of a tensor is an integer",
		},
		{
			"unknown metadata", dictOf(text("w"), withMetadata(weight, dictOf(text("scale"), "\x88"))),
			`a tensor of float32 has the metadata "scale": true, which PyTorch does not write`,
		},
		{
			"a negative bit that is a number", dictOf(text("w"), withMetadata(weight, dictOf(text("neg"), number(1)))),
			`the metadata "neg": 1`,
		},
		{
			"conjugated real numbers", dictOf(text("w"), withMetadata(weight, dictOf(text("conj"), "\x88"))),
			`the metadata "conj": true`,
		},
		{"no storage at all", "(" + text("module") + "NNNNtQ", "a persistent object that is not a storage"},
		{"a million marks", strings.Repeat("(", 1<<21), "more than 1048576 objects"},
		{"a million values without an object", strings.Repeat("N", 1<<21), "more than 1048576 objects"},
		{
			"a thousand million bytes",
			dictOf(
				text("w"),
				global("torch._utils", "_rebuild_tensor_v3")+"("+storageOf("UntypedStorage", "0", 24)+number(0)+
					numbers(1<<15, 1<<15)+numbers(0, 0)+"\x89N"+global("torch", "uint8")+"tR",
			),
			"the tensors take more than 8 times the file's",
		},
		{"millions of items in a list", "]" + strings.Repeat("("+strings.Repeat("N", 1<<19)+"e", 8), "more than 3145728 items"},
		{"a pickle of 33 MiB", strings.Repeat("N0", 33<<19), "data.pkl has 34603011 bytes, want at most 33554432"},
	} {
		refusal{tc.name, pt(saved(tc.object)), tc.err}.run(t)
	}
	for _, tc := range []refusal{
		{
			"big endian",
			archive(
				"m/data.pkl", saved(dictOf(text("w"), weight)), "m/byteorder", "big", "m/version", "3\n",
				"m/data/0", strings.Repeat("\x3f\x80\x00\x00", 6),
			),
			`byteorder is "big", want "little"`,
		},
		{
			"no version", archive("m/data.pkl", saved(dictOf(text("w"), weight)), "m/data/0", strings.Repeat("\x00", 24)),
			`the archive has no "m/version"`,
		},
		{
			"two archives", archive("a/data.pkl", saved("N"), "a/version", "3\n", "b/data.pkl", saved("N")),
			`2 archives of PyTorch in one file, in "a/" and "b/"`,
		},
		{
			"a member outside", archive("a/data.pkl", saved("N"), "a/version", "3\n", "b/data/0", "abcd"),
			`"b/data/0" lies outside the folder of the archive, "a/"`,
		},
		{"TorchScript", archive("m/data.pkl", saved("N"), "m/constants.pkl", saved(")")), "a TorchScript archive"},
		{
			"a member twice", archive("m/data.pkl", saved("N"), "m/data/0", "abcd", "m/data/0", "efgh"),
			`member "m/data/0" stands twice`,
		},
	} {
		tc.run(t)
	}
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

// The builders of the refused files also make files that are read.
func TestBuiltFilesAreRead(t *testing.T) {
	weight := tensorOf(six, 0, numbers(2, 3), numbers(3, 1))
	ordered := global("collections", "OrderedDict") + ")R(" + text("w") + weight + "u}" + text("_metadata") + "Nsb"
	for name, file := range map[string][]byte{
		"pt":      pt(saved(dictOf(text("w"), weight))),
		"ordered": pt(saved(ordered)),
		"not " +
			"negative": pt(saved(dictOf(
			text("w"), withMetadata(weight, dictOf(text("neg"), "\x89", text("conj"), "\x89")),
		))),
		"no metadata": pt(saved(dictOf(text("w"), withMetadata(weight, "N")))),
		"typed":       pt(saved(dictOf(text("w"), typedTensorOf(storageOf("UntypedStorage", "0", 24), 6, "float32")))),
		"legacy": legacy(
			magic, number(1001), dictOf(text("little_endian"), "\x88"), dictOf(text("w"), weight), "]("+text("0")+"e",
			append([]byte{6, 0, 0, 0, 0, 0, 0, 0}, strings.Repeat("\x00\x00\x80\x3f", 6)...)...,
		),
	} {
		f, err := readAll(file)
		require.NoError(t, err, name)
		values, err := f.Tensor("w").Float64s()
		require.NoError(t, err)
		require.Equal(t, []float64{1, 1, 1, 1, 1, 1}, values, name)
	}
}
