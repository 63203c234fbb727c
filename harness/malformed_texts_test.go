package harness_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/blob"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/known"
	"github.com/difftest/difftest/harness/internal/protocol"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/shard"
)

// malformedTexts damages case.json, graph.json, replies, blobs and lists of known failures.
func malformedTexts(t *testing.T, draw *rand.Rand) []malformed {
	read := func(name string) []byte {
		data, err := fs.ReadFile(fixtures.FS, name)
		require.NoError(t, err)
		return data
	}
	var all []malformed
	for _, name := range []string{"seed/causal", "mha/padding", "blocks/rms-norm"} {
		all = append(all, otherJSON("case.json", readsCase(t, name), read(name+"/case.json"))...)
	}
	for _, name := range []string{"blocks/rms-norm", "blocks/layer-norm"} {
		data := read(name + "/graph.json")
		all = append(all, otherJSON("graph.json", readsGraph, data)...)
		all = append(all, prefixes("graph.json", readsGraph, bytes.TrimSpace(data))...)
	}
	for _, line := range []string{
		`{"type":"ok","seq":1}`, `{"type":"error","seq":1,"message":"x","traceback":"y"}`,
		`{"type":"skipped","seq":1,"reason":"x"}`,
		`{"type":"started","seq":1,"protocol":1,"name":"x","ops":["module"],"features":["masks"]}`,
	} {
		all = append(all, otherJSON("reply", readsReply, []byte(line))...)
		all = append(all, prefixes("reply", readsReply, []byte(line))...)
	}
	all = append(all, otherJSON("blob", readsBlob, smallBlob(t))...)
	all = append(all, flips("blob", readsBlob, smallBlob(t), 3)...)
	return append(all, malformedLists(draw)...)
}

func readsCase(t *testing.T, name string) func([]byte) error {
	suite := fstest.MapFS{}
	require.NoError(t, fs.WalkDir(fixtures.FS, name, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(fixtures.FS, file)
		suite[file] = &fstest.MapFile{Data: data}
		return err
	}))
	return func(data []byte) error {
		changed := maps.Clone(suite)
		changed[name+"/case.json"] = &fstest.MapFile{Data: data}
		_, err := fixture.Read(changed, name)
		return err
	}
}

func readsGraph(data []byte) error {
	_, err := graph.Parse(data)
	return err
}

func readsReply(data []byte) error {
	_, err := protocol.ParseReply(data)
	return err
}

func readsBlob(data []byte) error {
	_, err := blob.Read(strings.NewReader(string(data)))
	return err
}

// smallBlob is the first line of a shard without cases.
func smallBlob(t *testing.T) []byte {
	var out strings.Builder
	b := blob.New(blob.Run{}, shard.Shard{Index: 1, Count: 2}, &report.Report{})
	require.NoError(t, b.Write(&out))
	return []byte(out.String())
}

// otherJSON replaces and removes each value of a document, and doubles each field.
func otherJSON(kind string, read func([]byte) error, data []byte) (all []malformed) {
	var document any
	if err := json.Unmarshal(data, &document); err != nil {
		panic(err)
	}
	deep := json.RawMessage(strings.Repeat("[", 9000) + strings.Repeat("]", 9000))
	others := []any{
		nil, true, -1, 1.5, json.RawMessage("1e400"), json.RawMessage("123456789012345678901234567890"), "",
		"\x1b[2J\u202e",
		strings.Repeat("x", 1<<16), []any{}, map[string]any{}, []any{nil}, deep, removed,
	}
	for _, place := range places(document, nil) {
		for i, other := range others {
			changed, err := json.Marshal(with(document, place, other))
			if err != nil {
				panic(err)
			}
			all = append(all, malformed{fmt.Sprintf("%s: %v is number %d", kind, place, i), read, changed, false})
		}
	}
	text := string(data)
	for _, bad := range []string{
		"", "null", "[]", `"x"`, "{", text + text, text[:len(text)/2], "\xef\xbb\xbf" + text,
		strings.Repeat(`{"a":`, 100000), strings.Replace(text, "{", `{"more":1,`, 1),
		strings.Replace(text, `"`, "'", 1), "\xff" + text, strings.Replace(text, ":", "=", 1),
	} {
		all = append(all, malformed{fmt.Sprintf("%s: %.20q", kind, bad), read, []byte(bad), true})
	}
	return all
}

type gone struct{}

var removed = gone{}

// places lists the ways to every value of a document, sorted.
func places(v any, here []any) (all [][]any) {
	down := func(key, inner any) { all = append(all, places(inner, append(slices.Clone(here), key))...) }
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			down(key, v[key])
		}
	case []any:
		for i, inner := range v {
			down(i, inner)
		}
	}
	if len(here) > 0 {
		all = append(all, here)
	}
	return all
}

// with returns a document with another value at a place, or without it.
func with(v any, place []any, other any) any {
	if len(place) == 0 {
		return other
	}
	switch v := v.(type) {
	case map[string]any:
		v = maps.Clone(v)
		key := place[0].(string)
		if len(place) == 1 && other == any(removed) {
			delete(v, key)
		} else {
			v[key] = with(v[key], place[1:], other)
		}
		return v
	case []any:
		i := place[0].(int)
		v = slices.Clone(v)
		if len(place) == 1 && other == any(removed) {
			return slices.Delete(v, i, i+1)
		}
		v[i] = with(v[i], place[1:], other)
		return v
	}
	return v
}

// malformedLists damages lists of known failures and patterns.
func malformedLists(draw *rand.Rand) (all []malformed) {
	read := func(data []byte) error {
		entries, err := known.Parse(string(data))
		for _, e := range entries {
			fixture.Selects(e.Pattern, "mha/causal")
		}
		return err
	}
	for _, line := range []string{
		"a cause=", "a cause=x cause=y # z", "a b", "a cause=\x1b[2J # x", "\x1b[2J # x", "[ # x", "{ # x", "a/{b # x",
		"a # \u202e", "a",
		strings.Repeat("{", 10000) + " # x", strings.Repeat("*", 10000) + " # x", strings.Repeat("a", 1<<20) + " # x",
		"a\x00b # x",
		strings.Repeat("{a,b}", 2000) + " # x", strings.Repeat("**/", 200) + " # x", "[z-a] # x", "\\ # x", "\xff # x",
	} {
		all = append(all, malformed{fmt.Sprintf("known: %.20q", line), read, []byte(line + "\n"), false})
	}
	letters := []byte("ab*?[]{},/\\-!^ #=\t\x00\xff")
	for i := range 200 {
		line := make([]byte, 1+draw.IntN(300))
		for j := range line {
			line[j] = letters[draw.IntN(len(letters))]
		}
		all = append(all, malformed{fmt.Sprintf("known: line %d", i), read, line, false})
	}
	return all
}
