package npy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/difftest/difftest/attention"
)

// Header is the part of a .npy file before its data.
type Header struct {
	DType     DType
	Shape     []int
	Fortran   bool // the first index is the fastest
	BigEndian bool
	Length    int // bytes before the data

	descr string // the type as the file spells it: '<f4'
}

// maxHeader bounds the text of a header, in bytes. NumPy writes less for any array, which has at
// most 64 dimensions.
const maxHeader = 4096

// MaxHeader bounds the bytes before the data of a file.
const MaxHeader = 12 + maxHeader

// ParseHeader reads a header from the beginning of a file. The first [MaxHeader] bytes are enough.
// It accepts every [DType], and so types that [Parse] refuses.
func ParseHeader(file []byte) (Header, error) {
	text, length, err := split(file)
	if err != nil {
		return Header{}, err
	}
	h, err := parseHeader(text)
	h.Length = length
	return h, err
}

// split returns the text of the header and the number of bytes before the data.
func split(file []byte) (text string, length int, err error) {
	const magic = "\x93NUMPY"
	if len(file) < 8 || string(file[:6]) != magic {
		return "", 0, errors.New("not a .npy file: it does not begin with \\x93NUMPY and a version")
	}
	major, minor, rest := file[6], file[7], file[8:]
	width := 4 // versions 2.0 and 3.0 differ in the text's encoding alone
	switch {
	case minor == 0 && major == 1:
		width = 2
	case minor == 0 && (major == 2 || major == 3):
	default:
		return "", 0, fmt.Errorf(".npy version %d.%d, want 1.0, 2.0 or 3.0", major, minor)
	}
	if len(rest) < width {
		return "", 0, errors.New(".npy header is truncated")
	}
	claim := uint64(binary.LittleEndian.Uint16(rest))
	if width == 4 {
		claim = uint64(binary.LittleEndian.Uint32(rest))
	}
	rest = rest[width:]
	if claim > maxHeader {
		return "", 0, fmt.Errorf(".npy header claims %d bytes, want at most %d", claim, maxHeader)
	}
	if claim > uint64(len(rest)) {
		return "", 0, fmt.Errorf(".npy header claims %d bytes, the file has %d left", claim, len(rest))
	}
	return string(rest[:claim]), 8 + width + int(claim), nil
}

// spelt holds the values of a header as they are spelt.
type spelt struct{ descr, order, shape string }

// parseHeader reads the Python dictionary of a header: the keys descr, fortran_order and shape,
// each once, in any order.
func parseHeader(text string) (Header, error) {
	values, err := headerValues(text)
	if err != nil {
		return Header{}, err
	}
	var h Header
	switch values.order {
	case "True":
		h.Fortran = true
	case "False":
	default:
		return Header{}, fmt.Errorf(".npy header: fortran_order is %.200q, want True or False", values.order)
	}
	if err := h.setDescr(values.descr); err != nil {
		return Header{}, err
	}
	if h.Shape, err = parseShape(values.shape); err != nil {
		return Header{}, err
	}
	return h, nil
}

// headerValues returns the values of the dictionary.
func headerValues(text string) (spelt, error) {
	if values, ok := numPyValues(text); ok {
		return values, nil
	}
	return dictValues(text)
}

// numPyValues reads a dictionary as NumPy spells it. It reports false for any other.
func numPyValues(text string) (spelt, bool) {
	descr, rest, begins := strings.Cut(text, "', 'fortran_order': ")
	descr, isDict := strings.CutPrefix(descr, "{'descr': '")
	order, rest, hasShape := strings.Cut(rest, ", 'shape': (")
	shape, end, ends := strings.Cut(rest, "), }")
	if !begins || !isDict || !hasShape || !ends || order != "True" && order != "False" ||
		strings.ContainsAny(descr, "'\n") || strings.Trim(shape, "0123456789, ") != "" ||
		strings.TrimLeft(end, " ") != "\n" {
		return spelt{}, false
	}
	return spelt{"'" + descr + "'", order, "(" + shape + ")"}, true
}

// patterns returns the pattern of a dictionary, and of its first item.
var patterns = sync.OnceValues(func() (dict, item *regexp.Regexp) {
	return regexp.MustCompile(`^\{(.*)\} *\n$`), regexp.MustCompile(
		`^ *'(descr|fortran_order|shape)' *: *('[^']*'|\[.*\]|True|False|\([-0-9, ]*\)) *(?:,|$)`)
})

// dictValues reads any dictionary of the three keys.
func dictValues(text string) (spelt, error) {
	dictPattern, itemPattern := patterns()
	dict := dictPattern.FindStringSubmatch(text)
	if dict == nil {
		return spelt{}, fmt.Errorf(".npy header is not a dictionary on one line that ends in a newline: %.80q", text)
	}
	values := map[string]string{}
	rest := dict[1]
	for strings.TrimSpace(rest) != "" {
		item := itemPattern.FindStringSubmatch(rest)
		if item == nil {
			return spelt{}, fmt.Errorf(".npy header: cannot read %.80q", rest)
		}
		if _, twice := values[item[1]]; twice {
			return spelt{}, fmt.Errorf(".npy header: %s stands twice", item[1])
		}
		values[item[1]] = item[2]
		rest = rest[len(item[0]):]
	}
	return spelt{values["descr"], values["fortran_order"], values["shape"]}, nil
}

// codes are NumPy's names of the types, without the byte order.
var codes = map[string]DType{
	"f2": Float16, "f4": Float32, "f8": Float64, "b1": Bool,
	"i1": Int8, "i2": Int16, "i4": Int32, "i8": Int64,
	"u1": Uint8, "u2": Uint16, "u4": Uint32, "u8": Uint64,
}

// setDescr takes a type such as '<f4'. A type of one byte has the order |.
func (h *Header) setDescr(descr string) error {
	order, code := "", strings.Trim(descr, "'")
	if code != "" {
		order, code = code[:1], code[1:]
	}
	dtype, known := codes[code]
	if !known || (order != "|") != (dtype.Size() > 1) || !strings.Contains("|<>", order) {
		return fmt.Errorf(
			".npy header: descr is %s, want a floating-point type, an integer or bool, and its byte order",
			shown(descr))
	}
	h.DType, h.BigEndian, h.descr = dtype, order == ">", descr
	return nil
}

// shown replaces the characters of a type that a terminal does not show.
func shown(descr string) string {
	return fmt.Sprintf("%.100s", strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return '?'
	}, descr))
}

// parseShape reads a Python tuple of integers: (), (3,), (5, 9, 40).
func parseShape(tuple string) ([]int, error) {
	inner, isTuple := strings.CutPrefix(tuple, "(")
	if !isTuple {
		return nil, fmt.Errorf(".npy header: shape is %.200q, want a tuple", tuple)
	}
	inner = strings.TrimSpace(strings.TrimSuffix(inner, ")"))
	if inner == "" {
		return []int{}, nil
	}
	words := strings.Split(strings.TrimSuffix(inner, ","), ",")
	shape := make([]int, len(words))
	for i, w := range words {
		d, err := strconv.Atoi(strings.TrimSpace(w))
		if err != nil {
			return nil, fmt.Errorf(".npy header: shape %.100s: %.100q: %w", tuple, w, errors.Unwrap(err))
		}
		shape[i] = d
	}
	if _, err := attention.Size(shape); err != nil {
		return nil, fmt.Errorf(".npy header: %w", err)
	}
	return shape, nil
}

// Check fails if data of have bytes is shorter or longer than the header claims. Call it before
// allocating memory for the elements.
func (h Header) Check(have int64) error {
	n, err := attention.Size(h.Shape)
	if err != nil {
		return err
	}
	size := int64(h.DType.Size())
	problem := ""
	switch {
	case int64(n) > have/size:
		problem = "is truncated"
	case int64(n)*size < have:
		problem = "has trailing bytes"
	default:
		return nil
	}
	return fmt.Errorf(".npy data %s: %s of shape %s needs %d elements of %d bytes, the file has %d bytes",
		problem, h.DType, attention.FormatShape(h.Shape), n, size, have)
}
