package checkpoint_test

import (
	"encoding/binary"
	"strings"
	"testing"
)

// text, number, numbers, global and dictOf are pieces of a pickle of protocol 2, saved is a whole
// one.
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

func dictOf(keysAndValues ...string) string { return "}(" + strings.Join(keysAndValues, "") + "u" }

func saved(object string) string { return "\x80\x02" + object + "." }

func TestPickleRefuses(t *testing.T) {
	weight := tensorOf(six, 0, numbers(2, 3), numbers(3, 1))
	for _, tc := range []struct{ name, object, err string }{
		{"runs a command", global("os", "system") + text("rm -rf /") + "\x85R", `refused: "os.system"`},
		{
			"evaluates", dictOf(text("w"), weight, text("x"), global("builtins", "eval")+text("1")+"\x85R"),
			`refused: "builtins.eval"`,
		},
		{"imports", global("__builtin__", "getattr"), `refused: "__builtin__.getattr"`},
		{"a class within an allowed module", global("torch", "load"), `refused: "torch.load"`},
		{
			"an instance", global("collections", "OrderedDict") + ")\x81",
			`opcode '\u0081' has no place in a state dict`,
		},
		{"INST", "(ios\nsystem\n", "opcode 'i'"},
		{"EXT1", "\x82\x01", "opcode"},
		{"text persistent id", "P0\n", "opcode 'P'"},
		{"calls a tensor", weight + ")R", "a tensor is called"},
		{"attributes of a tensor", weight + "}b", "attributes of a tensor"},
		{"a key twice", dictOf(text("w"), weight, text("w"), weight), `key "w" stands twice`},
		{
			"a key twice in an OrderedDict",
			global("collections", "OrderedDict") + ")R(" + text("w") + weight + text("w") + weight + "u",
			`key "w" stands twice`,
		},
		{
			"a key twice, one by one", "}" + text("w") + weight + "s" + text("w") + weight + "s",
			`key "w" stands twice`,
		},
		{"a key twice deep inside", dictOf(text("a"), dictOf(number(1), "N", number(1), "N")), "key 1 stands twice"},
		{"a dict as key", dictOf("}", "N"), "a dict is the key of a dict"},
		{"odd items", "}(" + text("w") + "u", "1 keys and values for a dict"},
		{"negative length", "T\xff\xff\xff\xff", "a length of 4294967295"},
		{"millions of lists", strings.Repeat("]", 1<<20+1), "more than 1048576 objects"},
		{"millions of memos", "N" + strings.Repeat("\x94", 1<<20+1), "more than 1048576 objects"},
		{"stack underflow", "0", "the stack is empty"},
		{"pops a mark", "NN(0", "the stack is empty"},
		{"no mark", "t", "no mark"},
		{"tuple across a mark", "NNN(N\x87", "the stack is empty"},
		{"unknown memo", "h\x07", "nothing is at 7 of the memo"},
		{"class without an end", "cos", "the name of a class has no end"},
	} {
		if testing.Short() && strings.Contains(tc.name, "millions") {
			continue // they take long with the race detector
		}
		refusal{tc.name, pt(saved(tc.object)), tc.err}.run(t)
	}
	for _, tc := range []struct{ name, pickle, err string }{
		{"evaluates, protocol 4", "\x80\x04\x8c\x08builtins\x94\x8c\x04exec\x94\x93.", `refused: "builtins.exec"`},
		{
			"a class by names from the memo", "\x80\x04\x8c\x02os\x94\x8c\x06system\x9400h\x00h\x01\x93.",
			`refused: "os.system"`,
		},
		{
			"a dotted name", "\x80\x04\x8c\x05torch\x8c\x13serialization.os.rm\x93.",
			`refused: "torch.serialization.os.rm"`,
		},
		{"protocol 6", "\x80\x06N.", "protocol 6"},
		{"text of exabytes", "\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.", "a length of 9223372036854775807"},
		{"bytes of terabytes", "\x80\x04\x8e\x00\x00\x00\x00\x00\x01\x00\x00.", "a length of 1099511627776"},
		{"frame of exabytes", "\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.", "a length of 9223372036854775807"},
		{"no end", "\x80\x02N", "want 1 bytes, 0 are left"},
		{"bytes behind the pickle", saved(dictOf(text("w"), weight)) + "N.", "2 bytes stand behind the pickle"},
	} {
		refusal{tc.name, pt(tc.pickle), tc.err}.run(t)
	}
}

// FuzzPickle puts pickles into sound archives. Mutated bytes alone hardly ever make one.
func FuzzPickle(f *testing.F) {
	weight := tensorOf(six, 0, numbers(2, 3), numbers(3, 1))
	f.Add([]byte(saved(dictOf(text("w"), weight))))
	f.Add([]byte(saved(global("collections", "OrderedDict") + ")R(" + text("w") + weight + "u}b")))
	f.Add([]byte("\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01w\x94]\x94" +
		"\x8c\x05torch\x94\x8c\x04Size\x94\x93s."))
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
