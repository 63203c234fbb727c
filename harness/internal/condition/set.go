package condition

import (
	"encoding/binary"
	"math/bits"
)

// set is a set of the indices of points.
type set []uint64

func newSet(size int) set { return make(set, (size+63)/64) }

func (s set) add(i int) { s[i/64] |= 1 << (i % 64) }

func (s set) count() int {
	n := 0
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// without returns the members of s that are not in other.
func (s set) without(other set) set {
	rest := make(set, len(s))
	for i := range s {
		rest[i] = s[i] &^ other[i]
	}
	return rest
}

// key returns a string that equal sets share.
func (s set) key() string {
	text := make([]byte, 0, 8*len(s))
	for _, word := range s {
		text = binary.LittleEndian.AppendUint64(text, word)
	}
	return string(text)
}
