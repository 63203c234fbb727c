package schemas_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
)

func TestCommittedCases(t *testing.T) {
	s := open(t, caseSchema)
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	for _, name := range names {
		s.validate(t, name, readCase(t, name))
	}
	// A module, and parameters in one file, which no committed case has.
	s.validate(t, "a module", []byte(`{
		"version": 1, "name": "model/layer", "purpose": "A layer of a user's model.", "op": "module",
		"config": {"module": "torch.nn.Linear"}, "inputs": {"x": "inputs/x.npy"},
		"state_dict_file": "state_dict.safetensors", "detects": ["causal-missing"],
		"expected": {"output": "o.npy", "truth": "t.npy", "sigma": "s.npy"},
		"files": {"state_dict.safetensors": {"sha256": "`+strings.Repeat("0", 64)+`"},
			"o.npy": {"dtype": "float32", "shape": [], "sha256": "`+strings.Repeat("f", 64)+`"}},
		"provenance": {"function": "torch.nn.Linear", "torch": "2.15.0"}
	}`))
	// Small models with their graphs, and a module that PyTorch cannot export.
	models := os.DirFS("../internal/edits/testdata")
	for _, name := range []string{"models/llama/case.json", "models/gemma/case.json", "models/bert/case.json", "models/scaled/case.json"} {
		data, err := fs.ReadFile(models, name)
		require.NoError(t, err)
		s.validate(t, name, data)
	}
	llama, err := fs.ReadFile(models, "models/llama/case.json")
	require.NoError(t, err)
	graph := regexp.MustCompile(`"graph": \{[^}]*\}`)
	s.validate(t, "no graph", graph.ReplaceAll(llama, []byte(`"graph": {"missing": "no operator for aten.fft"}`)))
	class := regexp.MustCompile(`"config": \{[^}]*\}`)
	s.validate(t, "a described module", class.ReplaceAll(llama, []byte(`"config": {
		"module": "M", "structure": ["M(", ")"], "settings": {"heads": 2, "rope": {"base": 1e4}}, "dtype": "bfloat16", "output": "logits"}`)))
	require.Empty(t, s.unseen())
}

func readCase(t *testing.T, name string) []byte {
	t.Helper()
	data, err := fs.ReadFile(fixtures.FS, name+"/case.json")
	require.NoError(t, err)
	return data
}

// The reader and the schema refuse the same fields: one that is missing, one that is unknown, and
// one with an unknown word.
func TestReaderAndSchemaAgree(t *testing.T) {
	s := open(t, caseSchema)
	for _, name := range []string{"decoder/gemma", "sdpa/float-mask"} {
		for _, at := range []struct{ place, definition string }{
			{"", ""}, {"expected", "expected"}, {"provenance", "provenance"},
			{"config", map[string]string{"decoder": "layer_config", "sdpa": "function_config"}[path.Dir(name)]},
		} {
			n := s.text
			if at.definition != "" {
				_, n = s.resolve("", node{"$ref": "#/$defs/" + at.definition})
			}
			for _, field := range n["required"].([]any) {
				refusedByBoth(t, s, name, at.place, func(object node) { delete(object, field.(string)) })
			}
			refusedByBoth(t, s, name, at.place, func(object node) { object["undocumented"] = 1 })
			for field, property := range n["properties"].(node) {
				_, property := s.resolve("", property.(node))
				words, ok := property["enum"].([]any)
				if !ok {
					continue
				}
				known := slices.DeleteFunc(slices.Clone(words), func(word any) bool { return word == nil })
				err := refusedByBoth(t, s, name, at.place, func(object node) { object[field] = "a new word" })
				if at.place == "config" {
					require.ErrorContains(t, err, fmt.Sprintf("want one of %q", sorted(known)))
				}
			}
		}
	}
}

func sorted(words []any) []string {
	var list []string
	for _, word := range words {
		list = append(list, word.(string))
	}
	slices.Sort(list)
	return list
}

// refusedByBoth changes an object of a case.json, and returns the reader's error.
func refusedByBoth(t *testing.T, s *schema, name, place string, change func(object node)) error {
	t.Helper()
	var document node
	require.NoError(t, json.Unmarshal(readCase(t, name), &document))
	object := document
	if place != "" {
		object = document[place].(node)
	}
	before := maps.Clone(object)
	change(object)
	require.NotEqual(t, before, object)
	data, err := json.Marshal(document)
	require.NoError(t, err)
	s.refuses(t, data)
	suite := fstest.MapFS{}
	files, err := fs.Sub(fixtures.FS, name)
	require.NoError(t, err)
	require.NoError(t, fs.WalkDir(files, ".", func(file string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			content, readErr := fs.ReadFile(files, file)
			suite[name+"/"+file], err = &fstest.MapFile{Data: content}, readErr
		}
		return err
	}))
	suite[name+"/case.json"] = &fstest.MapFile{Data: data}
	_, err = fixture.Read(suite, name)
	require.Error(t, err, "%s: %s", name, data)
	return err
}
