package check

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/printable"
	"github.com/difftest/difftest/harness/internal/protocol"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// answers returns the outputs of a subject on the named cases, as a folder.
func answers(t *testing.T, s subject.Subject, cases ...string) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	for _, name := range cases {
		ran := s.Run(t.Context(), harnesstest.ReadCase(t, name))
		require.NoError(t, ran.Err)
		files[name+"/output.npy"] = &fstest.MapFile{Data: harnesstest.NPY(ran.Output)}
		if ran.Weights != nil {
			files[name+"/weights.npy"] = &fstest.MapFile{Data: harnesstest.NPY(ran.Weights)}
		}
	}
	return files
}

func verdicts(r *report.Report) map[string]report.Verdict {
	all := map[string]report.Verdict{}
	for _, result := range r.Results {
		all[result.Case] = result.Verdict
	}
	return all
}

// Outputs in a folder are judged as the subject itself, and the failures get the same causes.
func TestFolder(t *testing.T) {
	campaign.SkipShort(t)
	cases := []string{"mha/causal", "seed/causal", "seed/unmasked", "mha/weights-per-head"}
	ctx := context.Background()
	r, err := Folder(ctx, fixtures.FS, answers(t, harnesstest.Unmasked(), cases...), subject.Float32)
	require.NoError(t, err)
	got := verdicts(r)
	require.Equal(t, report.Fail, got["mha/causal"])
	require.Equal(t, report.Fail, got["seed/causal"])
	require.Equal(t, report.Pass, got["seed/unmasked"])
	require.Equal(t, len(r.Results)-len(cases), r.Count(report.Skip))
	require.Len(t, r.Causes, 1)
	require.Equal(t, "causal-missing", r.Causes[0].ID)

	live, err := Check(ctx, fixtures.FS, harnesstest.Unmasked(), cases...)
	require.NoError(t, err)
	offline, err := Folder(ctx, fixtures.FS, answers(t, harnesstest.Unmasked(), cases...), subject.Float32, cases...)
	require.NoError(t, err)
	require.Len(t, offline.Results, len(cases))
	for i := range live.Results {
		require.Equal(t, cases[i], offline.Results[i].Case)
		require.Equal(t, live.Results[i].Verdict, offline.Results[i].Verdict)
		require.Equal(t, live.Results[i].Findings, offline.Results[i].Findings)
		require.Equal(t, live.Results[i].Comparison, offline.Results[i].Comparison)
		require.Equal(t, matchedIDs(live.Results[i].Diagnosis), matchedIDs(offline.Results[i].Diagnosis))
	}
	require.Equal(t, len(live.Causes), len(offline.Causes))
}

// PyTorch's own files are right outputs, in every precision.
func TestFolderOfPyTorch(t *testing.T) {
	cases := []string{"sdpa/bfloat16", "sdpa/float16", "sdpa/float64", "mha/weights", "mha/eval-left-padding"}
	files := fstest.MapFS{}
	for _, name := range cases {
		for _, file := range []string{"output.npy", "weights.npy"} {
			if data, err := fs.ReadFile(fixtures.FS, name+"/expected/"+file); err == nil {
				files[name+"/"+file] = &fstest.MapFile{Data: data}
			}
		}
	}
	r, err := Folder(context.Background(), fixtures.FS, files, subject.Float32, cases...)
	require.NoError(t, err)
	require.Equal(t, len(cases), r.Count(report.Pass))
}

func TestFolderWithWeights(t *testing.T) {
	const name = "mha/weights-per-head"
	files := answers(t, harnesstest.BuiltIn(), name)
	check := func() (*report.Report, error) {
		return Folder(context.Background(), fixtures.FS, files, subject.Float32, name)
	}
	r, err := check()
	require.NoError(t, err)
	require.Equal(t, report.Pass, r.Results[0].Verdict)

	right := files[name+"/weights.npy"]
	files[name+"/weights.npy"] = files[name+"/output.npy"]
	r, err = check()
	require.NoError(t, err)
	require.Equal(t, report.Fail, r.Results[0].Verdict)
	require.Contains(t, r.Results[0].Findings[0], "the attention weights have shape")

	delete(files, name+"/weights.npy")
	r, err = check()
	require.NoError(t, err)
	require.Equal(t, report.Error, r.Results[0].Verdict)
	require.Contains(t, r.Results[0].Err, "no weights.npy")

	files[name+"/weights.npy"] = right
	delete(files, name+"/output.npy")
	r, err = check()
	require.ErrorContains(t, err, "mha/weights-per-head/weights.npy: no output.npy beside it")
	require.Len(t, r.Broken, 1)
}

// A reply replaces an output, and may not lie beside one.
func TestFolderReadsReplies(t *testing.T) {
	const name = "mha/causal"
	check := func(reply string, more fstest.MapFS) (report.Result, error) {
		more[name+"/reply.json"] = &fstest.MapFile{Data: []byte(reply)}
		r, err := Folder(context.Background(), fixtures.FS, more, subject.Float32, name)
		if err != nil {
			return report.Result{}, err
		}
		return r.Results[0], nil
	}
	r, err := check(`{"type": "skipped", "reason": "no mask \u001b[31m yet"}`, fstest.MapFS{})
	require.NoError(t, err)
	require.Equal(t, report.Skip, r.Verdict)
	require.Equal(t, `no mask \x1b[31m yet`, r.Err)

	r, err = check(`{"type": "error", "message": "boom", "traceback": "line 1\nline 2\n"}`, fstest.MapFS{})
	require.NoError(t, err)
	require.Equal(t, report.Error, r.Verdict)
	require.Equal(t, "boom\nline 1\nline 2", r.Err)

	r, err = check(`{"type": "ok"}`, answers(t, harnesstest.BuiltIn(), name))
	require.NoError(t, err)
	require.Equal(t, report.Pass, r.Verdict)

	for reply, want := range map[string]string{
		`{"type": "skipped", "reason": "lazy"}`: "mha/causal/reply.json: says skipped beside an output",
		`{"type": "error", "message": "boom"}`:  "mha/causal/reply.json: says error beside an output",
		`{"type": "pass"}`:                      `mha/causal/reply.json: type: "pass"`,
		`{`:                                     "mha/causal/reply.json: not JSON",
	} {
		_, err = check(reply, answers(t, harnesstest.BuiltIn(), name))
		require.ErrorContains(t, err, want)
	}
	r, err = check(`{"type": "skipped", "reason": "`+strings.Repeat("x", 5000)+`"}`, fstest.MapFS{})
	require.NoError(t, err)
	require.Less(t, len(r.Err), 500)
}

func TestFolderRefuses(t *testing.T) {
	const name = "mha/causal"
	const output, weights = name + "/output.npy", name + "/weights.npy"
	putting := func(file string, f fstest.MapFile) func(fstest.MapFS) {
		return func(files fstest.MapFS) { files[file] = &f }
	}
	npy := func(descr string, shape int) fstest.MapFile {
		header := harnesstest.NPYHeader(descr, false, []int{shape})
		return fstest.MapFile{Data: harnesstest.NPYFile(1, header, []byte{1})}
	}
	empty := fstest.MapFile{}
	for _, tc := range []struct {
		what string
		put  func(fstest.MapFS)
		err  string
	}{
		{
			"a misspelt output", putting(name+"/ouput.npy", empty),
			"mha/causal/ouput.npy: unknown file: an output is output.npy",
		},
		{"a misspelt case", putting("mha/casual/output.npy", empty), "mha/casual/output.npy: belongs to no case"},
		{"an output of all", putting("output.npy", empty), "output.npy: belongs to no case"},
		{
			"an output too deep", putting(name+"/inputs/deep/output.npy", empty),
			"mha/causal/inputs/deep/output.npy: unknown file",
		},
		{
			"weights that no one asks for", func(files fstest.MapFS) { files[weights] = files[output] },
			"mha/causal/weights.npy: the case has no attention weights",
		},
		{
			"no numbers", putting(output, fstest.MapFile{Data: []byte("text")}),
			"mha/causal/output.npy: not a .npy file",
		},
		{
			"booleans", putting(output, npy("|b1", 1)),
			"mha/causal/output.npy: dtype bool, want a floating-point type",
		},
		{
			"a claim beyond the file", putting(output, npy("<f4", 1<<40)),
			"mha/causal/output.npy: the output has shape (1099511627776,), want (5, 9, 40): it is not read",
		},
		{
			"a folder", putting(output, fstest.MapFile{Mode: fs.ModeDir}),
			"mha/causal/output.npy: not a regular file",
		},
		{
			"a pipe", putting(output, fstest.MapFile{Mode: fs.ModeNamedPipe}),
			"mha/causal/output.npy: not a regular file",
		},
	} {
		t.Run(tc.what, func(t *testing.T) {
			files := answers(t, harnesstest.BuiltIn(), name, "seed/causal")
			tc.put(files)
			r, err := Folder(context.Background(), fixtures.FS, files, subject.Float32, name, "seed/causal")
			require.ErrorContains(t, err, tc.err)
			require.Len(t, r.Broken, 1)
			require.Equal(t, report.Pass, verdicts(r)["seed/causal"], "the others are judged")
		})
	}
	_, err := Folder(context.Background(), fixtures.FS, fstest.MapFS{}, subject.Float32, "mha/none")
	require.ErrorContains(t, err, `case "mha/none": the suite has no such case`)
	_, err = Folder(context.Background(), fstest.MapFS{}, fstest.MapFS{}, subject.Float32)
	require.ErrorContains(t, err, "no case found")
}

func TestFolderOfAnotherFolder(t *testing.T) {
	files := fstest.MapFS{}
	for _, name := range slices.Sorted(strings.SplitSeq("abcdefghijklmnopqrstuvwxyz", "")) {
		files["home/"+name] = &fstest.MapFile{}
	}
	r, err := Folder(context.Background(), fixtures.FS, files, subject.Float32, "seed/causal")
	require.ErrorContains(t, err, "home/t: belongs to no case\nand more")
	require.NotContains(t, err.Error(), "home/u")
	require.Equal(t, report.Skip, r.Results[0].Verdict)
	require.Equal(t, "no output.npy", r.Results[0].Err)
}

// A link that leads out of the folder is not followed.
func TestFolderStaysInside(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "output.npy")
	require.NoError(t, os.WriteFile(outside, harnesstest.NPY(harnesstest.ReadCase(t, "seed/causal").Output), 0o644))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "seed/causal"), 0o755))
	if err := os.Symlink(outside, filepath.Join(dir, "seed/causal/output.npy")); err != nil {
		t.Skip(err)
	}
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	_, err = Folder(context.Background(), fixtures.FS, root.FS(), subject.Float32, "seed/causal")
	require.ErrorContains(t, err, "seed/causal/output.npy")
}

// An exported folder can be judged after outputs were put into it. Nothing in it is a stray.
func TestExportComesBack(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, protocol.Export(fixtures.FS, dir, "mha/causal", "sdpa/bfloat16", "mha/weights"))
	for file, f := range answers(t, harnesstest.BuiltIn(), "mha/causal", "mha/weights") {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), f.Data, 0o644))
	}
	r, err := Folder(context.Background(), fixtures.FS, os.DirFS(dir), subject.Float32)
	require.NoError(t, err)
	require.Equal(t, 2, r.Count(report.Pass))
	require.Equal(t, len(r.Results)-2, r.Count(report.Skip))
}

// Names of files come from elsewhere. In a report they cannot forge lines or move the cursor.
func TestNamesOfFilesAreShownAsText(t *testing.T) {
	const forged = "\x1b[2Jok\n\u202eeverything.npy"
	seed, err := fs.Sub(fixtures.FS, "seed")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, seed))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "causal", forged), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, forged), nil, 0o600))
	r, err := Check(context.Background(), os.DirFS(dir), harnesstest.BuiltIn())
	require.Error(t, err)
	require.Len(t, r.Broken, 2)
	outputs, err := Folder(context.Background(), fixtures.FS, os.DirFS(dir), subject.Float32, "seed/causal")
	require.Error(t, err)
	require.NotEmpty(t, outputs.Broken)
	for _, b := range append(r.Broken, outputs.Broken...) {
		for line := range strings.SplitSeq(b.Err, "\n") {
			require.True(t, printable.Is(line) && strings.Contains(line, ": "), "%q", line)
		}
	}
}
