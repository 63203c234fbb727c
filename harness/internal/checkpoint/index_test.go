package checkpoint_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/checkpoint"
)

// A checkpoint in several files is read as one, by its index or by its folder.
func TestShards(t *testing.T) {
	whole, _, err := open(t, "layer.pt").StateDict()
	require.NoError(t, err)
	for name, format := range map[string]checkpoint.Format{
		"shards-safetensors":                              checkpoint.Safetensors,
		"shards-safetensors/model.safetensors.index.json": checkpoint.Safetensors,
		"shards-bin/pytorch_model.bin.index.json":         checkpoint.PyTorch,
	} {
		f := open(t, name)
		require.Equal(t, format, f.Format)
		require.Len(t, f.Shards, 2)
		dict, left, err := f.StateDict()
		require.NoError(t, err)
		require.Empty(t, left)
		require.Equal(t, whole, dict, name)
	}
	f, err := checkpoint.OpenFS(os.DirFS("testdata"), "shards-safetensors/model.safetensors.index.json")
	require.NoError(t, err)
	require.Len(t, f.Tensors, 4)
	require.NoError(t, f.Close())
	require.ErrorIs(t, f.Close(), fs.ErrClosed, "every file was closed before")
}

// The cache of Hugging Face links each file of a folder to one elsewhere.
func TestShardsBehindLinks(t *testing.T) {
	dir := t.TempDir()
	target, err := filepath.Abs("testdata/shards-bin")
	require.NoError(t, err)
	entries, err := os.ReadDir(target)
	require.NoError(t, err)
	for _, e := range entries {
		require.NoError(t, os.Symlink(filepath.Join(target, e.Name()), filepath.Join(dir, e.Name())))
	}
	f, err := checkpoint.Open(dir)
	require.NoError(t, err)
	require.Len(t, f.Tensors, 4)
	require.NoError(t, f.Close())
}

func TestIndexRefuses(t *testing.T) {
	shard := func(entries ...string) *fstest.MapFile {
		return &fstest.MapFile{Data: safetensors(header(entries...), make([]byte, 4*len(entries)))}
	}
	good := fstest.MapFS{
		"a.st":        shard(entry("v", "F32", "1", 0, 4)),
		"b.st":        shard(entry("w", "F32", "1", 0, 4), entry("x", "F32", "1", 4, 8)),
		"secret/c.st": shard(entry("y", "F32", "1", 0, 4)),
	}
	const all = `"v": "a.st", "w": "b.st", "x": "b.st"`
	for _, tc := range []struct {
		name, weightMap string
		change          fstest.MapFS
		err             string // empty if the index is right
	}{
		{"right", all, nil, ""},
		{"a tensor that the index does not name", `"v": "a.st", "w": "b.st"`, nil, ""},
		{
			"missing file", all, fstest.MapFS{"b.st": nil},
			`dir/i.json: weight_map: the file "b.st" is missing`,
		},
		{
			"missing files", `"v": "d.st", "w": "c.st"`, nil,
			"\"c.st\" is missing\nweight_map: the file \"d.st\" is missing",
		},
		{
			"out of the folder", `"v": "../secret/c.st"`, nil,
			`dir/i.json: weight_map: "v" is in "../secret/c.st", want a file of`,
		},
		{"an absolute path", `"v": "/etc/passwd"`, nil, `weight_map: "v" is in "/etc/passwd"`},
		{"another drive", `"v": "C:\\a.st"`, nil, `weight_map: "v" is in "C:\\a.st"`},
		{"the folder", `"v": ".."`, nil, `weight_map: "v" is in ".."`},
		{"no file", `"v": ""`, nil, `weight_map: "v" is in ""`},
		{"a number", `"v": 1`, nil, "weight_map.v: a number, want a string"},
		{"nothing", "", nil, "weight_map names no tensor"},
		{"twice in the index", `"v": "a.st", "v": "b.st"`, nil, "weight_map.v: twice"},
		{"in no file", all + `, "z": "a.st"`, nil, `weight_map: "z" is not in a.st`},
		{"in another file", `"v": "a.st", "w": "a.st", "x": "b.st"`, nil, `weight_map: "w" is not in a.st but in b.st`},
		{
			"in two " +
				"files", all, fstest.MapFS{"a.st": shard(entry("v", "F32", "1", 0, 4), entry("w", "F32", "1", 4, 8))},
			`weight_map: "w" stands in two files, a.st and b.st`,
		},
		{"a broken file", all, fstest.MapFS{"b.st": {Data: []byte("\x93NUMPY")}}, "dir/i.json: b.st: "},
		{
			"a pointer", all, fstest.MapFS{"a.st": {Data: []byte("version https://git-lfs.github.com/spec/v1\n")}},
			"dir/i.json: a.st: a Git LFS pointer",
		},
		{
			"itself", `"v": "i.json"`, nil,
			"dir/i.json: i.json: an index of shards, which cannot be read without its folder",
		},
		{"a folder", `"v": "sub"`, fstest.MapFS{"sub/x": {}}, "dir/i.json: sub: not a regular file"},
		{
			"many of no " +
				"file", `"v": "a.st", "1": "a.st", "2": "a.st", "3": "a.st", "4": "a.st", "5": "a.st", "6": "a.st"`, nil,
			"weight_map: 1 more tensors are not where it says",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys := fstest.MapFS{"dir/i.json": {Data: []byte(`{"metadata": {}, "weight_map": {` + tc.weightMap + "}}")}}
			files := maps.Clone(good)
			maps.Copy(files, tc.change)
			for name, file := range files {
				if place := "dir/" + name; file != nil {
					fsys[place] = file
				}
			}
			fsys["secret/c.st"] = good["secret/c.st"]
			f, err := checkpoint.OpenFS(fsys, "dir/i.json")
			if tc.err == "" {
				require.NoError(t, err)
				require.Len(t, f.Tensors, 3)
				return
			}
			require.ErrorContains(t, err, tc.err)
		})
	}
}

func TestFolderRefuses(t *testing.T) {
	_, err := checkpoint.Open("testdata")
	require.EqualError(t, err, "testdata: a folder without an index of shards, *.index.json: name a file")
	dir := t.TempDir()
	for _, name := range []string{"a.index.json", "b.index.json"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o600))
	}
	_, err = checkpoint.Open(dir)
	require.ErrorContains(t, err, "a folder with 2 indexes of shards, a.index.json, b.index.json: name one")
}
