package checkpoint

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/difftest/difftest/harness/internal/jsonread"
)

// maxIndex bounds an index, in bytes. 100,000 tensors take less.
const maxIndex = 1 << 25

// maxShards bounds the files that an index names. All are open at once. The largest models have
// about 200.
const maxShards = 1000

// indexIn returns the path of the one index of shards in a folder.
func indexIn(dir string) (string, error) {
	// The folder may have any name, so it is no part of the pattern.
	found, err := fs.Glob(os.DirFS(dir), "*.index.json")
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", dir, err)
	case len(found) == 0:
		return "", fmt.Errorf("%s: a folder without an index of shards, *.index.json: name a file", dir)
	case len(found) > 1:
		return "", fmt.Errorf("%s: a folder with %d indexes of shards, %s: name one",
			dir, len(found), strings.Join(found, ", "))
	}
	return filepath.Join(dir, found[0]), nil
}

// isJSON reports whether a file begins as a JSON object does. The length before the header of a
// .safetensors file may begin so too, and has a zero in its last bytes.
func isJSON(head []byte) bool {
	text := bytes.TrimLeft(head, " \t\r\n")
	return len(text) > 0 && text[0] == '{' && !bytes.Contains(head[:min(8, len(head))], []byte{0})
}

// readIndex reads the files that an index of shards names as one. Hugging Face writes such an index
// beside them: {"weight_map": {"a tensor": "a file"}} (model.safetensors.index.json).
func readIndex(r io.ReaderAt, size int64, open func(string) (fs.File, error)) (*File, error) {
	shardOf, err := weightMap(r, size)
	if err != nil {
		return nil, err
	}
	if open == nil {
		return nil, errors.New("an index of shards, which cannot be read without its folder")
	}
	names := slices.Compact(slices.Sorted(maps.Values(shardOf)))
	if len(names) > maxShards {
		return nil, fmt.Errorf("weight_map names %d files, want at most %d", len(names), maxShards)
	}
	whole := &File{Shards: names}
	shards, err := whole.openShards(names, open)
	if err == nil {
		err = checkMap(shardOf, names, shards)
	}
	if err != nil {
		return nil, errors.Join(err, whole.Close())
	}
	for i, shard := range shards {
		whole.Format = shard.Format
		whole.Under = cmp.Or(whole.Under, shard.Under)
		whole.Tensors = append(whole.Tensors, shard.Tensors...)
		for _, other := range shard.Other {
			whole.Other = append(whole.Other, names[i]+": "+other)
		}
	}
	whole.sort()
	return whole, nil
}

// weightMap reads the file of each tensor. A file must be one of the index's own folder.
func weightMap(r io.ReaderAt, size int64) (map[string]string, error) {
	if size > maxIndex {
		return nil, fmt.Errorf("a JSON file of %d bytes, want at most %d", size, maxIndex)
	}
	data, err := section(r, 0, size)
	if err != nil {
		return nil, err
	}
	var index struct {
		WeightMap jsontext.Value `json:"weight_map"`
	}
	if err := jsonread.Lenient("", data, &index); err != nil {
		return nil, fmt.Errorf("a JSON file that cannot be read: %w", err)
	}
	if index.WeightMap == nil {
		return nil, errors.New("a JSON file without weight_map: neither weights nor an index of shards")
	}
	var shardOf map[string]string
	if err := jsonread.Lenient("weight_map", index.WeightMap, &shardOf); err != nil {
		return nil, err
	}
	if len(shardOf) == 0 {
		return nil, errors.New("weight_map names no tensor")
	}
	for _, name := range slices.Sorted(maps.Keys(shardOf)) {
		shard := shardOf[name]
		// A folder may hold links to files elsewhere, as the cache of Hugging Face does.
		if !fs.ValidPath(shard) || !filepath.IsLocal(filepath.FromSlash(shard)) || strings.ContainsAny(shard, "\\:") {
			return nil, fmt.Errorf("weight_map: %.200q is in %.200q, want a file of the index's folder", name, shard)
		}
	}
	return shardOf, nil
}

// openShards opens the files that an index names. Close of the whole closes them, also after a
// failure.
func (f *File) openShards(names []string, open func(string) (fs.File, error)) ([]*File, error) {
	var shards []*File
	var errs []error
	for _, name := range names {
		opened, err := open(name)
		if errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("weight_map: the file %.200q is missing", name))
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("weight_map: %w", err))
			continue
		}
		f.closers = append(f.closers, opened)
		r, size, err := readerOf(opened)
		var shard *File
		if err == nil {
			shard, err = New(r, size)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		shards = append(shards, shard)
	}
	return shards, errors.Join(errs...)
}

// checkMap fails if a file lacks a tensor that the index has in it, or if a tensor stands in two
// files. A tensor that the index does not name is read as well.
func checkMap(shardOf map[string]string, names []string, shards []*File) error {
	holder := map[string]string{}
	var errs []error
	for i, shard := range shards {
		for _, t := range shard.Tensors {
			if first, twice := holder[t.Name]; twice {
				errs = append(errs, fmt.Errorf("weight_map: %.200q stands in two files, %s and "+
					"%s", t.Name, first, names[i]))
			}
			holder[t.Name] = names[i]
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shardOf)) {
		switch held := holder[name]; held {
		case shardOf[name]:
		case "":
			errs = append(errs, fmt.Errorf("weight_map: %.200q is not in %s", name, shardOf[name]))
		default:
			errs = append(errs, fmt.Errorf("weight_map: %.200q is not in %s but in %s", name, shardOf[name], held))
		}
	}
	return joined(errs)
}

// joined joins the first errors and counts the others.
func joined(errs []error) error {
	const shown = 5
	if more := len(errs) - shown; more > 0 {
		errs = append(errs[:shown], fmt.Errorf("weight_map: %d more tensors are not where it says", more))
	}
	return errors.Join(errs...)
}
