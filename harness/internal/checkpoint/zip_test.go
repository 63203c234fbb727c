package checkpoint_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/harnesstest"
)

// archive returns a zip archive of members, names and contents in turn.
func archive(members ...string) []byte { return archiveOf(zip.Store, members) }

// deflated is archive with compressed members.
func deflated(members ...string) []byte { return archiveOf(zip.Deflate, members) }

func archiveOf(method uint16, members []string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		f, err := w.CreateHeader(&zip.FileHeader{Name: members[i], Method: method})
		if err != nil {
			panic(err)
		}
		if _, err := f.Write([]byte(members[i+1])); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func TestZipRefuses(t *testing.T) {
	for _, tc := range []refusal{
		{"bomb", bomb(t, 300), "take more than 8 times the file's"},
		{"deflated beyond what can be", claiming(t, 1<<40), "which "},
		{"stored in fewer bytes than it has", stored(t, 0), `member "a.npy" is stored in 4 bytes and claims 1000`},
		{"encrypted", stored(t, 1), `member "a.npy" is encrypted`},
		{"members over each other", overlapping(t), "bytes of the file, which has"},
	} {
		tc.run(t)
	}
}

// bomb returns an .npz whose array is n MiB of zeros. It repeats one compressed MiB.
func bomb(t *testing.T, n int) []byte {
	t.Helper()
	var compressed bytes.Buffer
	w, err := flate.NewWriter(&compressed, flate.BestCompression)
	require.NoError(t, err)
	header := harnesstest.NPYFile(1, harnesstest.NPYHeader("|u1", false, []int{n << 20}), []byte{})
	_, err = w.Write(header)
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	start := compressed.Len()
	_, err = w.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	data := append(compressed.Bytes(), bytes.Repeat(compressed.Bytes()[start:], n-1)...)
	return raw(t, func(w *zip.Writer) {
		f, err := w.CreateRaw(&zip.FileHeader{
			Name: "a.npy", Method: zip.Deflate,
			CompressedSize64: uint64(len(data)), UncompressedSize64: uint64(len(header) + n<<20),
		})
		require.NoError(t, err)
		_, err = f.Write(data)
		require.NoError(t, err)
	})
}

// claiming returns an .npz whose directory claims n bytes, more than its member can have.
func claiming(t *testing.T, n uint64) []byte {
	t.Helper()
	return raw(t, func(w *zip.Writer) {
		writeRaw(t, w, &zip.FileHeader{Name: "a.npy", Method: zip.Deflate, CompressedSize64: 4, UncompressedSize64: n})
	})
}

// stored returns an .npz whose member claims more bytes than are stored.
func stored(t *testing.T, flags uint16) []byte {
	t.Helper()
	return raw(t, func(w *zip.Writer) {
		writeRaw(t, w, &zip.FileHeader{
			Name: "a.npy", Method: zip.Store, Flags: flags, CompressedSize64: 4, UncompressedSize64: 1000,
		})
	})
}

// overlapping returns an archive of two members that together claim more bytes than the file has.
func overlapping(t *testing.T) []byte {
	t.Helper()
	return raw(t, func(w *zip.Writer) {
		for _, name := range []string{"a.npy", "b.npy"} {
			h := &zip.FileHeader{Name: name, Method: zip.Store, CompressedSize64: 150, UncompressedSize64: 150}
			writeRaw(t, w, h)
		}
	})
}

func raw(t *testing.T, fill func(*zip.Writer)) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	fill(w)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func writeRaw(t *testing.T, w *zip.Writer, h *zip.FileHeader) {
	t.Helper()
	f, err := w.CreateRaw(h)
	require.NoError(t, err)
	_, err = f.Write([]byte{0x4b, 0x4c, 0x04, 0x00})
	require.NoError(t, err)
}
