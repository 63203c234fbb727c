package review_test

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/review"
)

// suite returns a copy of the embedded cases below some folders, which a test may change.
func suite(t *testing.T, folders ...string) fstest.MapFS {
	t.Helper()
	copied := fstest.MapFS{}
	for _, folder := range folders {
		err := fs.WalkDir(fixtures.FS, folder, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := fs.ReadFile(fixtures.FS, file)
			copied[file] = &fstest.MapFile{Data: data}
			return err
		})
		require.NoError(t, err)
	}
	return copied
}

// replace changes text in a file that has it.
func replace(t *testing.T, s fstest.MapFS, file, from, to string) {
	t.Helper()
	require.Contains(t, string(s[file].Data), from)
	s[file] = &fstest.MapFile{Data: []byte(strings.Replace(string(s[file].Data), from, to, 1))}
}

// scale multiplies the last element of a file: float64 of a truth or sigma, float32 of any other.
func scale(s fstest.MapFS, file string, factor float64) {
	data := bytes.Clone(s[file].Data)
	if strings.HasSuffix(file, "truth.npy") || strings.HasSuffix(file, "sigma.npy") {
		last := data[len(data)-8:]
		v := math.Float64frombits(binary.LittleEndian.Uint64(last))
		binary.LittleEndian.PutUint64(last, math.Float64bits(v*factor))
	} else {
		last := data[len(data)-4:]
		v := math.Float32frombits(binary.LittleEndian.Uint32(last))
		binary.LittleEndian.PutUint32(last, math.Float32bits(float32(float64(v)*factor)))
	}
	s[file] = &fstest.MapFile{Data: data}
}

func compare(t *testing.T, before, after fs.FS) *review.Review {
	t.Helper()
	r, err := review.Suites(review.Suite{Name: "old", FS: before}, review.Suite{Name: "new", FS: after})
	require.NoError(t, err)
	return r
}

const (
	manifest = "seed/causal/case.json"
	query    = "seed/causal/inputs/query.npy"
	output   = "seed/causal/expected/output.npy"
	truth    = "seed/causal/expected/truth.npy"
)

func TestIdentical(t *testing.T) {
	s := suite(t, "seed")
	s["notes.txt"] = &fstest.MapFile{Data: []byte("beside the cases")}
	r := compare(t, s, suite(t, "seed"))
	require.True(t, r.OK())
	require.Equal(t, len(s)-1, r.Count(review.Identical))
	require.Len(t, r.Files, len(s)-1)
}

// A change edits a suite.
type change func(*testing.T, fstest.MapFS)

// scaled changes the last element of a file.
func scaled(file string, factor float64) change {
	return func(_ *testing.T, s fstest.MapFS) { scale(s, file, factor) }
}

// edited changes some texts in a file, given as pairs.
func edited(file string, fromTo ...string) change {
	return func(t *testing.T, s fstest.MapFS) {
		for i := 0; i < len(fromTo); i += 2 {
			replace(t, s, file, fromTo[i], fromTo[i+1])
		}
	}
}

// added adds an empty file, and removed takes one away.
func added(file string) change {
	return func(_ *testing.T, s fstest.MapFS) { s[file] = &fstest.MapFile{} }
}

func removed(file string) change { return func(_ *testing.T, s fstest.MapFS) { delete(s, file) } }

// One change in one file gives one line about that file.
func TestOneChange(t *testing.T) {
	const weight = "seed/causal/state_dict/W_O.npy"
	for _, tc := range []struct {
		name   string
		change change
		kind   review.Kind
		file   string
		detail string // a part
	}{
		{"input", scaled(query, 1+0x1p-23), review.Moved, query, "1 of 3072 elements, by at most 0.5 ULP, "},
		{"parameter", scaled(weight, 2), review.Moved, weight, "; it may not move"},
		{
			"truth by rounding", scaled(truth, 1+1e-13),
			review.Rounding, truth, " of its largest value (at most 1e-12)",
		},
		{"truth by more", scaled(truth, 1+1e-10), review.Moved, truth, " of its largest value (at most 1e-12)"},
		{"truth becomes NaN", scaled(truth, math.NaN()), review.Moved, truth, "by at most +Inf ULP, +Inf absolute"},
		{
			"output by rounding", scaled(output, 1+0x1p-22),
			review.Rounding, output, "1 of 3072 elements, by at most ",
		},
		{"output by more", scaled(output, 1+1e-4), review.Moved, output, "max z "},
		{"output becomes infinite", scaled(output, math.Inf(1)), review.Moved, output, "max z +Inf"},
		{"header alone", func(t *testing.T, s fstest.MapFS) {
			replace(t, s, output, "{'descr'", "{ 'descr'")
			trimHeader(s, output)
		}, review.Rounding, output, "the same values in other bytes"},
		{
			"shape", edited(query, "(4, 12, 64)", "(12, 4, 64)"),
			review.Changed, query, "float32 (4, 12, 64) became float32 (12, 4, 64)",
		},
		{"dtype", func(_ *testing.T, s fstest.MapFS) {
			s[query] = npyFile("<f8", false, 1, []float64{0})
		}, review.Changed, query, "float32 (4, 12, 64) became float64 (1,)"},
		{
			"config", edited(manifest, `"num_heads": 4`, `"num_heads": 8`, `"torch": "`, `"torch": "3.`),
			review.Changed, manifest, "config.num_heads, provenance.torch",
		},
		{
			"a field more", edited(manifest, `"num_heads": 4`, `"num_heads": 4, "x": {}`),
			review.Changed, manifest, "config.x",
		},
		{
			"a list", edited(manifest, `"shape": [4, 12, 64]`, `"shape": [4, 12]`),
			review.Changed, manifest, "files.expected/output.npy.shape",
		},
		{
			"a file's type", edited(manifest, `"dtype": "float64"`, `"dtype": "float32"`),
			review.Changed, manifest, "files.expected/truth.npy.dtype",
		},
		{
			"who made it", edited(manifest, `"torch": "`, `"torch": "3.`, `"sha256": "`, `"sha256": "0`),
			review.Rounding, manifest, "files.expected/output.npy.sha256, provenance.torch",
		},
		{
			"layout", edited(manifest, `"version": 1`, `"version":1`),
			review.Rounding, manifest, "only the layout of the text",
		},
		{"new", added("seed/causal/a.txt"), review.New, "seed/causal/a.txt", ""},
		{"a .npy file outside the cases", added("seed/a.npy"), review.New, "seed/a.npy", ""},
		{"a file outside the cases", func(t *testing.T, s fstest.MapFS) {
			s["seed/a.txt"] = &fstest.MapFile{}
			replace(t, s, manifest, `"version": 1`, `"version":1`)
		}, review.Rounding, manifest, ""},
		{"gone", removed(output), review.Gone, output, ""},
		{"case gone", removed(manifest), review.Gone, manifest, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changed := suite(t, "seed")
			tc.change(t, changed)
			r := compare(t, suite(t, "seed"), changed)
			f := r.Files[0]
			require.Equal(t, tc.file, f.Path)
			require.Equal(t, tc.kind, f.Kind)
			require.Contains(t, f.Detail, tc.detail)
			require.Equal(t, len(r.Files)-1, r.Count(review.Identical))
			require.Equal(t, tc.kind == review.Rounding, r.OK())
		})
	}
}

// trimHeader takes one blank from the end of a header that has become one longer.
func trimHeader(s fstest.MapFS, file string) {
	s[file].Data = bytes.Replace(s[file].Data, []byte(" \n"), []byte("\n"), 1)
}

func TestWorstFirst(t *testing.T) {
	s := suite(t, "seed")
	scale(s, truth, 1+1e-13)
	scale(s, output, 1+1e-4)
	scale(s, "seed/unmasked/expected/output.npy", 2)
	scale(s, query, 2)
	delete(s, "seed/unmasked/expected/truth.npy")
	s["seed/unmasked/a.npy"] = &fstest.MapFile{}
	replace(t, s, manifest, `"version": 1`, `"version": 2`)
	var got []string
	for _, f := range compare(t, suite(t, "seed"), s).Files {
		if f.Kind != review.Identical {
			got = append(got, string(f.Kind)+" "+f.Path)
		}
	}
	require.Equal(t, []string{
		"changed " + manifest,
		"moved " + query,
		"moved seed/unmasked/expected/output.npy",
		"moved " + output,
		"gone seed/unmasked/expected/truth.npy",
		"new seed/unmasked/a.npy",
		"rounding " + truth,
	}, got)
}

// odd returns a suite with files that the group seed lacks: a sigma, a mask, integers. Its
// case.json has only the fields that a review reads.
func odd() fstest.MapFS {
	const fields = `{"inputs": {"padding": "padding.npy", "tokens": "tokens.npy"}, "expected": {"sigma": "sigma.npy"}}`
	return fstest.MapFS{
		"a/b/case.json":   {Data: []byte(fields)},
		"a/b/sigma.npy":   npyFile("<f8", false, 2, []float64{1e-8, 2e-8}),
		"a/b/padding.npy": npyFile("|b1", false, 2, []byte{0, 1}),
		"a/b/tokens.npy":  npyFile("<i8", false, 2, []int64{3, 1 << 60}),
	}
}

// npyFile returns a file with n values in one dimension.
func npyFile(descr string, fortran bool, n int, values any) *fstest.MapFile {
	return &fstest.MapFile{Data: harnesstest.NPYFile(1, harnesstest.NPYHeader(descr, fortran, []int{n}), values)}
}

func TestSigmaMasksAndIntegers(t *testing.T) {
	for _, tc := range []struct {
		name, file, descr string
		fortran           bool
		values            any
		kind              review.Kind
		detail            string
	}{
		{
			"sigma estimated again", "sigma.npy", "<f8", false, []float64{2e-8, 1e-8},
			review.Rounding, "1.00 times as large (at most 2)",
		},
		{
			"sigma smaller", "sigma.npy", "<f8", false, []float64{1e-9, 2e-9},
			review.Moved, "0.10 times as large (at most 2)",
		},
		{"mask", "padding.npy", "|b1", false, []byte{1, 1}, review.Moved, "1 of 2 elements; it may not move"},
		{
			"mask in another order", "padding.npy", "|b1", true, []byte{0, 1},
			review.Rounding, "the same values in other bytes",
		},
		{
			"integers", "tokens.npy", "<i8", false, []int64{3, 1<<60 + 1},
			review.Moved, "other bytes; it may not move",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changed := odd()
			changed["a/b/"+tc.file] = npyFile(tc.descr, tc.fortran, 2, tc.values)
			f := compare(t, odd(), changed).Files[0]
			require.Equal(t, "a/b/"+tc.file, f.Path)
			require.Equal(t, tc.kind, f.Kind)
			require.Contains(t, f.Detail, tc.detail)
		})
	}
}

// Attention weights and an output in bfloat16 are judged by the noise of their case, too.
func TestWeightsAndLowerPrecision(t *testing.T) {
	const weights = "mha/weights-bias-kv-zero-attn/expected/weights.npy"
	const bfloat16 = "sdpa/bfloat16/expected/output.npy"
	for _, tc := range []struct {
		name, file string
		change     change
		kind       review.Kind
		detail     string
	}{
		{"weights by rounding", weights, scaled(weights, 1+0x1p-22), review.Rounding, "; within the noise"},
		{
			"weights by more", weights, scaled(weights, 1+1e-3),
			review.Moved, "; the attention weights are outside the noise: max z ",
		},
		{
			"bfloat16 by its last bit", bfloat16, inverted(bfloat16, 1),
			review.Rounding, " elements, by at most 1 ULP, 0.0",
		},
		{"bfloat16 by its sign", bfloat16, inverted(bfloat16, 0x80<<8), review.Moved, "1 of "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changed := suite(t, "mha/weights-bias-kv-zero-attn", "sdpa/bfloat16")
			tc.change(t, changed)
			f := compare(t, suite(t, "mha/weights-bias-kv-zero-attn", "sdpa/bfloat16"), changed).Files[0]
			require.Equal(t, tc.file, f.Path)
			require.Equal(t, tc.kind, f.Kind)
			require.Contains(t, f.Detail, tc.detail)
		})
	}
}

// inverted flips bits in the last two bytes of a file.
func inverted(file string, bits uint16) change {
	return func(_ *testing.T, s fstest.MapFS) {
		data := bytes.Clone(s[file].Data)
		last := data[len(data)-2:]
		binary.LittleEndian.PutUint16(last, binary.LittleEndian.Uint16(last)^bits)
		s[file] = &fstest.MapFile{Data: data}
	}
}

// A file that is an input may not move, even if it has another role as well.
func TestAnExpectedInputMayNotMove(t *testing.T) {
	before, after := odd(), odd()
	for _, s := range []fstest.MapFS{before, after} {
		replace(t, s, "a/b/case.json", `"tokens.npy"`, `"sigma.npy"`)
	}
	scale(after, "a/b/sigma.npy", 1.5)
	f := compare(t, before, after).Files[0]
	require.Equal(t, review.Moved, f.Kind)
	require.Contains(t, f.Detail, "; it may not move")
}

// An ULP is taken from the row's largest value: an element near zero may move by many of its own.
func TestULP(t *testing.T) {
	tensor := func(values ...float32) []byte {
		return harnesstest.NPY(&attention.Tensor{Shape: []int{len(values) / 2, 2}, Data: values})
	}
	nan := float32(math.NaN())
	for _, tc := range []struct {
		before, after []byte
		want          string
	}{
		{tensor(1, 0), tensor(1, 0x1p-23), "by at most 1 ULP, 1.2e-07 absolute, relative RMS 1.2e-07"},
		{tensor(1, 0, 0.25, 0.25), tensor(1, 0, 0.25, 0.25+0x1p-25), "by at most 1 ULP, 3e-08 absolute"},
		{tensor(1.9, 0), tensor(-1.9, 0), "by at most 3.19e+07 ULP, 3.8 absolute, relative RMS 2"},
		{tensor(0, 0), tensor(0x1p-149, 0), "by at most 1 ULP, "},
		{tensor(nan, 1), tensor(nan, 1+0x1p-23), "1 of 2 elements, by at most 1 ULP, "},
		{tensor(nan, 1), tensor(1, 1), "by at most +Inf ULP, "},
	} {
		before, after := odd(), odd()
		before["a/b/tokens.npy"] = &fstest.MapFile{Data: tc.before}
		after["a/b/tokens.npy"] = &fstest.MapFile{Data: tc.after}
		require.Contains(t, compare(t, before, after).Files[0].Detail, tc.want)
	}
}

// A file that cannot be read gives one line, and the others are still compared.
func TestUnreadable(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(before, after fstest.MapFS)
		err    string
	}{
		{"truncated", func(_, after fstest.MapFS) {
			after[truth] = &fstest.MapFile{Data: after[truth].Data[:200]}
		}, "new/" + truth + ": .npy data is truncated: " +
			"float64 of shape (4, 12, 64) needs 3072 elements of 8 bytes, the file has 72 bytes"},
		{"old truncated", func(before, _ fstest.MapFS) {
			before[truth] = &fstest.MapFile{Data: before[truth].Data[:9]}
		}, "old/" + truth + ": .npy header is truncated"},
		{"case.json", func(_, after fstest.MapFS) {
			after[manifest] = &fstest.MapFile{Data: []byte("{")}
		}, "new/" + manifest + ": "},
		{"no regular file", func(_, after fstest.MapFS) {
			after[query] = &fstest.MapFile{Mode: fs.ModeNamedPipe}
		}, "new/" + query + ": not a regular file"},
		{"the old case is broken", func(before, after fstest.MapFS) {
			scale(after, output, 2)
			delete(before, query)
			delete(after, query)
		}, "old: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before, after := suite(t, "seed"), suite(t, "seed")
			tc.change(before, after)
			r, err := review.Suites(review.Suite{Name: "old", FS: before}, review.Suite{Name: "new", FS: after})
			require.ErrorContains(t, err, tc.err)
			require.NotContains(t, err.Error(), "\n")
			require.Len(t, r.Files, len(after)-1)
		})
	}
}

func TestASuiteWithoutCasesIsRefused(t *testing.T) {
	for _, empty := range []fstest.MapFS{{}, {"a.txt": {}}} {
		_, err := review.Suites(review.Suite{Name: "old", FS: suite(t, "seed")}, review.Suite{Name: "new", FS: empty})
		require.ErrorContains(t, err, "new: no case found")
	}
}
