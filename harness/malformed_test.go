package harness_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/checkpoint"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/printable"
)

// malformed is a file that a reader must survive.
type malformed struct {
	name    string
	read    func(data []byte) error
	data    []byte
	refused bool // some damage leaves a sound file
}

// A file may make the reader allocate 8 times its size and 256 MiB, as FORMATS.md states, and take
// some seconds of a busy machine.
const (
	malformedMemory = 256 << 20
	malformedTime   = 20 * time.Second
	malformedError  = 4000 // bytes of an error
)

// TestMalformedFiles damages files of every format in ways that follow from the format. Each file
// is read within its limits of time and memory, and gives one clear error or is sound. A tenth of
// the files are read, and all of them in a campaign.
func TestMalformedFiles(t *testing.T) {
	campaign.SkipShort(t)
	all := malformedFiles(t)
	require.Greater(t, len(all), 2000)
	kinds := map[string]int{}
	for i, m := range all {
		kind, _, _ := strings.Cut(m.name, ":")
		if kinds[kind]++; !campaign.Full() && i%8 != 0 && kinds[kind] > 40 {
			continue
		}
		survives(t, m)
	}
	for _, kind := range []string{"npy", "npz", "safetensors", "pt", "legacy", "pickle", "case.json", "graph.json", "reply", "blob", "known"} {
		require.Greater(t, kinds[kind], 20, kind)
	}
}

// survives reads a file, and requires its limits and a clear error.
func survives(t *testing.T, m malformed) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("%s: panic: %v", m.name, r)
		}
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	err := m.read(m.data)
	took := time.Since(begin)
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(malformedMemory+8*len(m.data)), m.name)
	assert.Less(t, took, malformedTime, m.name)
	if m.refused {
		assert.Error(t, err, m.name)
	}
	if err != nil {
		text := err.Error()
		assert.NotEmpty(t, strings.TrimSpace(text), m.name)
		assert.LessOrEqual(t, len(text), malformedError, "%s: %.200s", m.name, text)
		for line := range strings.Lines(text) {
			assert.True(t, printable.Is(strings.TrimSpace(line)), "%s: %q", m.name, line)
		}
	}
}

func malformedFiles(t *testing.T) []malformed {
	draw := rand.New(rand.NewPCG(17, 985))
	var all []malformed
	for _, some := range [][]malformed{
		malformedArrays(), malformedZips(t), malformedSafetensors(), malformedPickles(t), malformedTexts(t, draw),
	} {
		all = append(all, some...)
	}
	return all
}

// weights reads every tensor of a file block by block, as `weights` does.
func weights(data []byte) error {
	file, err := checkpoint.New(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	for _, tensor := range file.Tensors {
		if !tensor.Readable() {
			continue
		}
		if err := blocks(tensor); err != nil {
			return err
		}
	}
	return nil
}

func blocks(tensor *checkpoint.Tensor) error {
	s, err := tensor.Stream()
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		if _, err := s.Next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func parseArray(data []byte) error {
	_, err := npy.Parse(data)
	return err
}

// prefixes cuts a file off at every byte.
func prefixes(kind string, read func([]byte) error, data []byte) (cut []malformed) {
	for n := range data {
		cut = append(cut, malformed{fmt.Sprintf("%s: %d of %d bytes", kind, n, len(data)), read, data[:n], true})
	}
	return cut
}

// flips changes bytes of a file. Some bytes do not count, such as the date of a member.
func flips(kind string, read func([]byte) error, data []byte, step int) (changed []malformed) {
	for at := 0; at < len(data); at += step {
		for _, by := range []byte{0x01, 0x80, 0xff} {
			other := bytes.Clone(data)
			other[at] ^= by
			changed = append(changed, malformed{fmt.Sprintf("%s: byte %d changed by %#x", kind, at, by), read, other, false})
		}
	}
	return changed
}
