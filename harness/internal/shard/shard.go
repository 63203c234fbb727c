// Package shard divides the cases of a run among several machines.
package shard

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Most is the largest number of shards of a run.
const Most = 1000

// Shard is one of the parts of a run. The zero value is a whole run.
type Shard struct {
	Index int // from 1 to Count
	Count int // of all shards; 0 is a whole run
}

// Parse reads "2/3": the second of three shards.
func Parse(text string) (Shard, error) {
	first, second, _ := strings.Cut(text, "/")
	index, err := strconv.Atoi(first)
	count, countErr := strconv.Atoi(second)
	s := Shard{index, count}
	if err != nil || countErr != nil || s.Check() != nil || s.String() != text {
		return Shard{}, fmt.Errorf("%q, want i/n with i from 1 to n, and n at most %d", text, Most)
	}
	return s, nil
}

// Check refuses numbers that no shard has.
func (s Shard) Check() error {
	if s.Index < 1 || s.Index > s.Count || s.Count > Most {
		return fmt.Errorf("%s is no shard: want i/n with i from 1 to n, and n at most %d", s, Most)
	}
	return nil
}

// IsWhole reports whether the shard is the whole run.
func (s Shard) IsWhole() bool { return s.Count <= 1 }

// String is "2/3".
func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.Index, s.Count) }

// Of returns the index, from 1 to count, of the shard that a case belongs to. It depends on the
// name of the case alone, so a case stays in its shard when others are added.
func Of(name string, count int) int {
	sum := sha256.Sum256([]byte(name))
	return 1 + int(binary.BigEndian.Uint64(sum[:8])%uint64(count))
}

// Cases returns the names that belong to the shard, in their order.
func (s Shard) Cases(names []string) []string {
	if s.IsWhole() {
		return names
	}
	var own []string
	for _, name := range names {
		if Of(name, s.Count) == s.Index {
			own = append(own, name)
		}
	}
	return own
}
