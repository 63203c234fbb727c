// Package schemas_test tests that the JSON Schemas in this folder describe the structs that read or
// write each format, and every document that a test can get hold of.
package schemas_test

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

// node is an object in a schema.
type node = map[string]any

// schema is one file of this folder.
type schema struct {
	text     node
	compiled *jsonschema.Schema
	seen     map[string]bool // the properties that validated documents have had
}

func open(t *testing.T, name string) *schema {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	text, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource(name, text))
	compiled, err := compiler.Compile(name)
	require.NoError(t, err)
	return &schema{text.(node), compiled, map[string]bool{}}
}

// validate requires that a document fits the schema.
func (s *schema) validate(t *testing.T, name string, document []byte) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	require.NoError(t, err, name)
	require.NoError(t, s.compiled.Validate(value), name)
	s.see("", s.text, value)
}

// refuses requires that a document does not fit, and returns the reason.
func (s *schema) refuses(t *testing.T, document []byte) string {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	require.NoError(t, err)
	err = s.compiled.Validate(value)
	require.Error(t, err)
	return err.Error()
}

// see marks the properties that a value has. Properties of a definition are marked once for all
// places that refer to it.
func (s *schema) see(place string, n node, value any) {
	for _, part := range s.parts(n) {
		place, n := s.resolve(place, part)
		switch value := value.(type) {
		case []any:
			if items, ok := n["items"].(node); ok {
				for _, item := range value {
					s.see(place, items, item)
				}
			}
		case node:
			properties, _ := n["properties"].(node)
			for name, inner := range value {
				if property, ok := properties[name].(node); ok {
					s.seen[place+"/"+name] = true
					s.see(place+"/"+name, property, inner)
				} else if all, ok := n["additionalProperties"].(node); ok {
					s.see(place, all, inner)
				}
			}
		}
	}
}

// parts returns a node and the nodes that its conditions and alternatives apply to the same value.
func (s *schema) parts(n node) []node {
	all := []node{n}
	for _, keyword := range []string{"allOf", "anyOf"} {
		list, _ := n[keyword].([]any)
		for _, one := range list {
			all = append(all, s.parts(one.(node))...)
		}
	}
	for _, keyword := range []string{"then", "else"} {
		if one, ok := n[keyword].(node); ok {
			all = append(all, s.parts(one)...)
		}
	}
	return all
}

// resolve follows a reference to a definition.
func (s *schema) resolve(place string, n node) (string, node) {
	reference, ok := n["$ref"].(string)
	if !ok {
		return place, n
	}
	name := strings.TrimPrefix(reference, "#/$defs/")
	return name, s.text["$defs"].(node)[name].(node)
}

// unseen lists the properties that no document has had, without those in except.
func (s *schema) unseen(except ...string) []string {
	var list []string
	add := func(place string, n node) {
		properties, _ := n["properties"].(node)
		for name := range properties {
			if at := place + "/" + name; !s.seen[at] && !slices.Contains(except, at) {
				list = append(list, at)
			}
		}
	}
	add("", s.text)
	for name, n := range s.text["$defs"].(node) {
		add(name, n.(node))
	}
	slices.Sort(list)
	return list
}

// A field that no schema describes is refused everywhere.
func TestSchemasAreStrict(t *testing.T) {
	for _, name := range []string{caseSchema, requestSchema, reportSchema, graphSchema} {
		s := open(t, name)
		require.Equal(t, "https://json-schema.org/draft/2020-12/schema", s.text["$schema"])
		objects := maps.Clone(s.text["$defs"].(node))
		objects["the document"] = s.text
		for place, one := range objects {
			if n := one.(node); n["type"] == "object" {
				require.Equal(t, false, n["additionalProperties"], "%s: %s", name, place)
			}
		}
	}
}
