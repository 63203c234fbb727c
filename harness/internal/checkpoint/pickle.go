package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"

	"github.com/difftest/difftest/harness/internal/npy"
)

// unpickler reads the part of pickle protocols 2 to 5 that a state dict needs (Python 3.11,
// pickletools). Nothing is run: a class is known by its name or refused. Every length is checked
// against the rest of the file, and every object is counted. No value is ever walked, so a cycle
// does no harm.
//
// The module gopickle v0.3.0 cannot be made safe from outside. It silently keeps the second of two
// equal keys of an OrderedDict. It allocates any length that a pickle claims, which can end the
// process.
type unpickler struct {
	data       []byte
	at         int                            // the next byte
	classes    func(name string) (any, error) // by a name such as "collections.OrderedDict"
	persistent func(id tuple) (any, error)    // the storage that a tuple describes

	stack []any
	marks []int // lengths of the stack
	memo  map[uint32]any
	made  int // the number of objects, without the memo and the stack
	moved int // the number of items that tuples, lists and dicts took off the stack
	err   error
}

// A value is nil, bool, int, *big.Int, float64, string, []byte, tuple, *list, *dict, callable, or
// made by a class.
type (
	tuple    []any
	list     struct{ items []any }
	callable func(args tuple) (any, error)
)

// Bounds of a pickle. A state dict has about ten objects and thirty items for each tensor.
const (
	maxMade  = 1 << 20
	maxMoved = 3 << 20
)

// load reads one pickle.
func (u *unpickler) load() (any, error) {
	u.stack, u.marks, u.memo = nil, nil, map[uint32]any{}
	for {
		start := u.at
		code := u.take(1)
		if u.err == nil && code[0] == '.' {
			value := u.pop()
			return value, u.err
		}
		if u.err == nil {
			if op, known := opcodes[code[0]]; known {
				op(u)
			} else {
				u.fail("opcode %.200q has no place in a state dict", code[0])
			}
		}
		if u.made+len(u.memo)+len(u.stack)+len(u.marks) > maxMade {
			u.fail("more than %d objects", maxMade)
		}
		if u.moved > maxMoved {
			u.fail("more than %d items in tuples, lists and dicts", maxMoved)
		}
		if u.err != nil {
			return nil, fmt.Errorf("pickle, byte %d: %w", start, u.err)
		}
	}
}

// opcodes holds the opcodes of pickletools with two exceptions: the text forms of protocol 0, and
// opcodes that make instances of classes without a call.
var opcodes = map[byte]func(*unpickler){
	0x80: (*unpickler).protocol,                             // PROTO
	0x95: func(u *unpickler) { u.length(8) },                // FRAME, which changes nothing
	'(':  (*unpickler).mark,                                 // MARK
	'0':  func(u *unpickler) { u.pop() },                    // POP
	'N':  func(u *unpickler) { u.push(nil) },                // NONE
	0x88: func(u *unpickler) { u.push(true) },               // NEWTRUE
	0x89: func(u *unpickler) { u.push(false) },              // NEWFALSE
	'K':  func(u *unpickler) { u.integer(1) },               // BININT1
	'M':  func(u *unpickler) { u.integer(2) },               // BININT2
	'J':  (*unpickler).int32,                                // BININT
	0x8a: (*unpickler).long,                                 // LONG1
	'G':  (*unpickler).float,                                // BINFLOAT
	'X':  func(u *unpickler) { u.text(4) },                  // BINUNICODE
	0x8c: func(u *unpickler) { u.text(1) },                  // SHORT_BINUNICODE
	0x8d: func(u *unpickler) { u.text(8) },                  // BINUNICODE8
	'U':  func(u *unpickler) { u.text(1) },                  // SHORT_BINSTRING, of Python 2
	'T':  func(u *unpickler) { u.text(4) },                  // BINSTRING, of Python 2
	'C':  func(u *unpickler) { u.raw(1) },                   // SHORT_BINBYTES
	'B':  func(u *unpickler) { u.raw(4) },                   // BINBYTES
	0x8e: func(u *unpickler) { u.raw(8) },                   // BINBYTES8
	')':  func(u *unpickler) { u.tuple(0) },                 // EMPTY_TUPLE
	0x85: func(u *unpickler) { u.tuple(1) },                 // TUPLE1
	0x86: func(u *unpickler) { u.tuple(2) },                 // TUPLE2
	0x87: func(u *unpickler) { u.tuple(3) },                 // TUPLE3
	't':  func(u *unpickler) { u.tuple(-1) },                // TUPLE
	']':  func(u *unpickler) { u.make(&list{}) },            // EMPTY_LIST
	'}':  func(u *unpickler) { u.make(&dict{}) },            // EMPTY_DICT
	'a':  func(u *unpickler) { u.append(1) },                // APPEND
	'e':  func(u *unpickler) { u.append(-1) },               // APPENDS
	's':  func(u *unpickler) { u.set(2) },                   // SETITEM
	'u':  func(u *unpickler) { u.set(-1) },                  // SETITEMS
	'q':  func(u *unpickler) { u.put(u.uint(1)) },           // BINPUT
	'r':  func(u *unpickler) { u.put(u.uint(4)) },           // LONG_BINPUT
	0x94: func(u *unpickler) { u.put(uint64(len(u.memo))) }, // MEMOIZE
	'h':  func(u *unpickler) { u.get(u.uint(1)) },           // BINGET
	'j':  func(u *unpickler) { u.get(u.uint(4)) },           // LONG_BINGET
	'c':  (*unpickler).global,                               // GLOBAL
	0x93: (*unpickler).stackGlobal,                          // STACK_GLOBAL
	'R':  (*unpickler).reduce,                               // REDUCE
	'b':  (*unpickler).build,                                // BUILD
	'Q':  (*unpickler).persist,                              // BINPERSID
}

// fail keeps the first error.
func (u *unpickler) fail(format string, args ...any) {
	if u.err == nil {
		u.err = fmt.Errorf(format, args...)
	}
}

// take returns the next n bytes. If fewer are left, it fails and returns zeros.
func (u *unpickler) take(n int) []byte {
	if n > len(u.data)-u.at {
		u.fail("want %d bytes, %d are left", n, len(u.data)-u.at)
		return make([]byte, min(n, 8))
	}
	u.at += n
	return u.data[u.at-n : u.at]
}

// uint reads an unsigned integer of 1, 2, 4 or 8 bytes.
func (u *unpickler) uint(width int) uint64 {
	var wide [8]byte
	copy(wide[:], u.take(width))
	return binary.LittleEndian.Uint64(wide[:])
}

// length reads a length. It fails if fewer bytes are left.
func (u *unpickler) length(width int) int {
	n := u.uint(width)
	if n > uint64(len(u.data)-u.at) {
		u.fail("a length of %d, %d bytes are left", n, len(u.data)-u.at)
		return 0
	}
	return int(n)
}

func (u *unpickler) push(value any) { u.stack = append(u.stack, value) }

// make pushes a new object.
func (u *unpickler) make(value any) {
	u.made++
	u.push(value)
}

// top returns the last value, which must stand after the last mark.
func (u *unpickler) top() any {
	if len(u.stack) == 0 || len(u.marks) > 0 && len(u.stack) == u.marks[len(u.marks)-1] {
		u.fail("the stack is empty")
		return nil
	}
	return u.stack[len(u.stack)-1]
}

func (u *unpickler) pop() any {
	value := u.top()
	if u.err == nil {
		u.stack = u.stack[:len(u.stack)-1]
	}
	return value
}

// popped takes the last n values off the stack, or all values after the last mark if n is -1.
func (u *unpickler) popped(n int) []any {
	mark := 0
	if len(u.marks) > 0 {
		mark = u.marks[len(u.marks)-1]
	}
	from := len(u.stack) - n
	if n < 0 {
		from = mark
		if len(u.marks) == 0 {
			u.fail("no mark")
			return nil
		}
		u.marks = u.marks[:len(u.marks)-1]
	}
	if from < mark {
		u.fail("the stack is empty")
		return nil
	}
	values := slices.Clone(u.stack[from:])
	u.moved += len(values)
	u.stack = u.stack[:from]
	return values
}

func (u *unpickler) protocol() {
	if p := u.uint(1); p < 2 || p > 5 {
		u.fail("protocol %d, want 2 to 5", p)
	}
}

func (u *unpickler) mark() { u.marks = append(u.marks, len(u.stack)) }

func (u *unpickler) integer(width int) { u.push(int(u.uint(width))) }

func (u *unpickler) int32() { u.push(int(int32(u.uint(4)))) }

// long reads a two's complement integer of up to 255 bytes.
func (u *unpickler) long() {
	little := slices.Clone(u.take(u.length(1)))
	slices.Reverse(little)
	value := new(big.Int).SetBytes(little)
	if len(little) > 0 && little[0]&0x80 != 0 {
		value.Sub(value, new(big.Int).Lsh(big.NewInt(1), uint(8*len(little))))
	}
	if value.IsInt64() {
		u.push(int(value.Int64()))
		return
	}
	u.make(value)
}

func (u *unpickler) float() { u.push(math.Float64frombits(binary.BigEndian.Uint64(u.take(8)))) }

func (u *unpickler) text(width int) { u.make(string(u.take(u.length(width)))) }

func (u *unpickler) raw(width int) { u.make(slices.Clone(u.take(u.length(width)))) }

func (u *unpickler) tuple(n int) { u.make(tuple(u.popped(n))) }

func (u *unpickler) append(n int) {
	items := u.popped(n)
	l, ok := u.top().(*list)
	if !ok {
		u.fail("append to %s", kind(u.top()))
		return
	}
	l.items = append(l.items, items...)
}

func (u *unpickler) set(n int) {
	items := u.popped(n)
	d, ok := u.top().(*dict)
	if !ok || len(items)%2 != 0 {
		u.fail("%d keys and values for %s", len(items), kind(u.top()))
		return
	}
	for pair := range slices.Chunk(items, 2) {
		if err := d.set(pair[0], pair[1]); err != nil {
			u.fail("%w", err)
		}
	}
}

func (u *unpickler) put(at uint64) { u.memo[uint32(at)] = u.top() }

func (u *unpickler) get(at uint64) {
	value, known := u.memo[uint32(at)]
	if !known {
		u.fail("nothing is at %d of the memo", at)
	}
	u.push(value)
}

// global reads a class's module and name, one line each.
func (u *unpickler) global() {
	var words [2]string
	for i := range words {
		end := bytes.IndexByte(u.data[u.at:], '\n')
		if end < 0 {
			u.fail("the name of a class has no end")
			return
		}
		words[i] = string(u.take(end + 1)[:end])
	}
	u.class(words[0], words[1])
}

func (u *unpickler) stackGlobal() {
	name, ok := u.pop().(string)
	module, okModule := u.pop().(string)
	if !ok || !okModule {
		u.fail("the name of a class is not a text")
		return
	}
	u.class(module, name)
}

func (u *unpickler) class(module, name string) {
	value, err := u.classes(module + "." + name)
	if err != nil {
		u.fail("%w", err)
	}
	u.push(value)
}

// reduce calls the callable that stands below its arguments.
func (u *unpickler) reduce() {
	args, isTuple := u.pop().(tuple)
	called := u.pop()
	f, ok := called.(callable)
	if !isTuple || !ok {
		u.fail("%s is called", kind(called))
		return
	}
	value, err := f(args)
	if err != nil {
		u.fail("%w", err)
	}
	u.make(value)
}

// build drops attributes of an OrderedDict, such as the _metadata of a state dict. None matters.
func (u *unpickler) build() {
	u.pop()
	if _, ok := u.top().(*dict); !ok {
		u.fail("attributes of %s", kind(u.top()))
	}
}

// persist replaces the description of a storage by the storage.
func (u *unpickler) persist() {
	id, ok := u.pop().(tuple)
	if !ok {
		u.fail("a storage is described by %s, want a tuple", kind(id))
		return
	}
	value, err := u.persistent(id)
	if err != nil {
		u.fail("%w", err)
	}
	u.push(value)
}

// dict is a dict or an OrderedDict. It keeps the order of its keys.
type dict struct {
	keys, values []any
	places       map[any]int
}

// set adds a key. It fails on a repeated key. Python never writes one, but an attack may, because
// readers differ in the value they keep.
func (d *dict) set(key, value any) error {
	switch key.(type) {
	case string, int, bool, float64, nil:
		if _, twice := d.places[key]; twice {
			return fmt.Errorf("key %s stands twice", describeKey(key))
		}
		if d.places == nil {
			d.places = map[any]int{}
		}
		d.places[key] = len(d.keys)
	case tuple, []byte, *big.Int: // rare, and never the name of a parameter
	default:
		return fmt.Errorf("%s is the key of a dict", kind(key))
	}
	d.keys, d.values = append(d.keys, key), append(d.values, value)
	return nil
}

// get returns the value of a key, nil if there is none.
func (d *dict) get(key string) any {
	if i, ok := d.places[key]; ok {
		return d.values[i]
	}
	return nil
}

func describeKey(key any) string {
	switch k := key.(type) {
	case string:
		return fmt.Sprintf("%.200q", k)
	case int, bool, float64:
		return fmt.Sprint(k)
	}
	return kind(key)
}

// kind names the type of a value. It never looks inside.
func kind(value any) string {
	switch v := value.(type) {
	case nil:
		return "None"
	case bool:
		return "a bool"
	case int, *big.Int:
		return "an integer"
	case float64:
		return "a float"
	case string:
		return "a text"
	case []byte:
		return "bytes"
	case tuple:
		return "a tuple"
	case *list:
		return "a list"
	case *dict:
		return "a dict"
	case *tensor:
		return "a tensor"
	case *storage:
		return "a storage"
	case callable, storageClass, npy.DType:
		return "a class"
	default:
		return fmt.Sprintf("a %T", v)
	}
}

var errArguments = errors.New("arguments that PyTorch does not write")
