package schemas_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	caseSchema    = "case.schema.json"
	requestSchema = "request.schema.json"
	reportSchema  = "report.schema.json"
)

// The schemas have the fields of the structs that read or write the documents, with their types. A
// writer's field is required unless it has omitempty.
func TestSchemasHaveTheFieldsOfTheStructs(t *testing.T) {
	fixture, protocol, graphs := parse(t, "fixture"), parse(t, "protocol"), parse(t, "graph")
	for _, tc := range []struct {
		schema     string
		definition string // empty for the document
		in         source
		structure  string
		role       role
	}{
		{caseSchema, "", fixture, "manifest", reader},
		{caseSchema, "function_config", fixture, "functionConfig", reader},
		{caseSchema, "layer_config", fixture, "layerConfig", reader},
		{caseSchema, "rotary_config", fixture, "rotaryConfig", reader},
		{caseSchema, "module_config", fixture, "moduleConfig", reader},
		{requestSchema, "", protocol, "Request", writer},
		{requestSchema, "function", protocol, "Function", writer},
		{requestSchema, "layer", protocol, "Layer", writer},
		{requestSchema, "rotary", protocol, "Rotary", writer},
		{requestSchema, "module", protocol, "Module", writer},
		{reportSchema, "", parse(t, "report"), "jsonReport", writer},
		{graphSchema, "", graphs, "document", reader},
		{graphSchema, "node", graphs, "Node", reader},
		{graphSchema, "attributes", graphs, "Attributes", reader},
	} {
		t.Run(tc.schema+" "+tc.structure, func(t *testing.T) {
			s := open(t, tc.schema)
			n := s.text
			if tc.definition != "" {
				_, n = s.resolve("", node{"$ref": "#/$defs/" + tc.definition})
			}
			matcher{t, s, tc.in, tc.role}.object(tc.structure, n, tc.in.types[tc.structure])
		})
	}
}

// The words of an enumeration are the constants of its Go type.
func TestSchemasHaveTheWordsOfTheConstants(t *testing.T) {
	for _, tc := range []struct{ schema, definition, property, room, constants string }{
		{caseSchema, "", "op", "fixture", "Op"},
		{requestSchema, "", "op", "fixture", "Op"},
		{reportSchema, "result", "verdict", "report", "Verdict"},
		{reportSchema, "result", "class", "diagnose", "Class"},
		{reportSchema, "result", "stage", "pattern", "Stage"},
		{reportSchema, "shared", "among", "report", "Among"},
		{reportSchema, "", "precision", "subject", "Precision"},
	} {
		s := open(t, tc.schema)
		n := s.text
		if tc.definition != "" {
			_, n = s.resolve("", node{"$ref": "#/$defs/" + tc.definition})
		}
		words := n["properties"].(node)[tc.property].(node)["enum"]
		constants := parse(t, tc.room).constants[tc.constants]
		require.NotEmpty(t, constants, "package %s has no type %s", tc.room, tc.constants)
		require.ElementsMatch(t, constants, words, "%s %s", tc.schema, tc.property)
	}
}

// A request has the same words as case.json, which the reader checks.
func TestRequestsHaveTheWordsOfCases(t *testing.T) {
	cases, requests := open(t, caseSchema), open(t, requestSchema)
	words := func(s *schema, definition, property string) []any {
		_, n := s.resolve("", node{"$ref": "#/$defs/" + definition})
		_, n = s.resolve("", n["properties"].(node)[property].(node))
		list, _ := n["enum"].([]any)
		return slices.DeleteFunc(slices.Clone(list), func(word any) bool { return word == nil })
	}
	for inRequest, inCase := range map[string]string{
		"function": "function_config", "layer": "layer_config", "rope": "rope",
	} {
		_, n := requests.resolve("", node{"$ref": "#/$defs/" + inRequest})
		for property := range n["properties"].(node) {
			if got := words(requests, inRequest, property); got != nil {
				require.ElementsMatch(t, words(cases, inCase, property), got, "%s.%s", inRequest, property)
			}
		}
	}
}

// role tells whether structs are read or written.
type role int

const (
	reader role = iota
	writer
)

// source holds the types of a package, and the values of its string constants by their types.
type source struct {
	types     map[string]ast.Expr
	constants map[string][]string
}

func parse(t *testing.T, room string) source {
	t.Helper()
	files, err := filepath.Glob("../internal/" + room + "/*.go")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	s := source{map[string]ast.Expr{}, map[string][]string{}}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				s.types[n.Name.Name] = n.Type
			case *ast.ValueSpec:
				s.constant(n)
			}
			return true
		})
	}
	return s
}

// constant records a typed string constant that is not empty.
func (s source) constant(n *ast.ValueSpec) {
	kind, ok := n.Type.(*ast.Ident)
	if !ok || len(n.Values) != 1 {
		return
	}
	if literal, ok := n.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
		if word, err := strconv.Unquote(literal.Value); err == nil && word != "" {
			s.constants[kind.Name] = append(s.constants[kind.Name], word)
		}
	}
}

// matcher compares structs of one package with a schema.
type matcher struct {
	*testing.T
	schema *schema
	in     source
	role   role
}

// object compares a struct with the schema of an object.
func (m matcher) object(place string, n node, structure ast.Expr) {
	m.Helper()
	properties := n["properties"].(node)
	var names, always []any
	for _, field := range structure.(*ast.StructType).Fields.List {
		tag, err := strconv.Unquote(field.Tag.Value)
		require.NoError(m, err, place)
		name, option, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		names = append(names, name)
		if option != "omitempty" {
			always = append(always, name)
		}
		if property, ok := properties[name].(node); ok {
			m.value(place+"."+name, property, field.Type, option == "omitempty")
		}
	}
	require.ElementsMatch(m, names, keys(properties), "%s: fields of the struct, properties in the schema", place)
	if m.role == writer {
		require.ElementsMatch(m, always, n["required"], "%s: the fields without omitempty, required", place)
	}
}

func keys(n node) []any {
	var list []any
	for key := range n {
		list = append(list, key)
	}
	return list
}

// value compares the type of a field with the schema of a property.
func (m matcher) value(place string, n node, kind ast.Expr, optional bool) {
	m.Helper()
	if _, isRaw := kind.(*ast.Ident); isRaw && kind.(*ast.Ident).Name == "any" {
		return // the configuration, which depends on the op
	}
	var want []string
	if pointer, ok := kind.(*ast.StarExpr); ok {
		kind = pointer.X
		if m.role == writer && !optional {
			want = []string{"null"}
		}
	}
	got := m.kinds(n)
	if m.role == reader {
		got = slices.DeleteFunc(got, func(kind string) bool { return kind == "null" })
	}
	_, n = m.schema.resolve("", n)
	switch kind := kind.(type) {
	case *ast.ArrayType:
		want = append(want, "array")
		m.value(place+"[]", n["items"].(node), kind.Elt, false)
	case *ast.MapType:
		want = append(want, "object")
		m.value(place+"{}", n["additionalProperties"].(node), kind.Value, false)
	case *ast.SelectorExpr: // a word such as diagnose.Class, or the configuration as jsontext.Value
		want = append(want, map[bool]string{true: "object", false: "string"}[kind.Sel.Name == "Value"])
	case *ast.Ident:
		want = append(want, m.named(place, n, kind.Name)...)
	}
	require.ElementsMatch(m, want, got, "%s: the type of the field, the types in the schema", place)
}

// named returns the JSON types of a named Go type. It compares a struct with its schema.
func (m matcher) named(place string, n node, name string) []string {
	m.Helper()
	switch name {
	case "string":
		return []string{"string"}
	case "bool":
		return []string{"boolean"}
	case "int", "uint64":
		return []string{"integer"}
	case "float64":
		return []string{"number"}
	case "number": // of the report
		return []string{"number", "string"}
	case "Operand": // of a graph
		return []string{"string", "number"}
	case "DType": // an alias
		return []string{"string"}
	}
	underlying := m.in.types[name]
	require.NotNil(m, underlying, "%s: %s", place, name)
	if word, ok := underlying.(*ast.Ident); ok {
		return m.named(place, n, word.Name)
	}
	for _, part := range m.schema.parts(n) {
		if _, part = m.schema.resolve("", part); part["properties"] != nil {
			m.object(name, part, underlying)
		}
	}
	return []string{"object"}
}

// kinds returns the JSON types that a schema accepts.
func (m matcher) kinds(n node) []string {
	_, n = m.schema.resolve("", n)
	if list, ok := n["anyOf"].([]any); ok {
		var all []string
		for _, one := range list {
			all = append(all, m.kinds(one.(node))...)
		}
		return unique(all)
	}
	switch kind := n["type"].(type) {
	case string:
		return []string{kind}
	case []any:
		var all []string
		for _, one := range kind {
			all = append(all, one.(string))
		}
		return all
	}
	values, _ := n["enum"].([]any)
	if constant, ok := n["const"]; ok {
		values = append(values, constant)
	}
	var all []string
	for _, value := range values {
		switch value.(type) {
		case nil:
			all = append(all, "null")
		case string:
			all = append(all, "string")
		default:
			all = append(all, "integer")
		}
	}
	return unique(all)
}

func unique(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
