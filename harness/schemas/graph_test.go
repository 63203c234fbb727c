package schemas_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/graph"
)

const graphSchema = "graph.schema.json"

var update = flag.Bool("update", false, "write the operators into graph.schema.json")

func TestStoredGraphs(t *testing.T) {
	s := open(t, graphSchema)
	stored := 0
	require.NoError(t, filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && strings.HasPrefix(entry.Name(), ".venv") {
			return filepath.SkipDir
		}
		if entry.Name() == "graph.json" {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			s.validate(t, path, data)
			_, err = graph.Parse(data)
			require.NoError(t, err, path)
			stored++
		}
		return nil
	}))
	require.GreaterOrEqual(t, stored, 3)
	for _, document := range samples(t) {
		s.validate(t, "a sample", document)
	}
	require.Empty(t, s.unseen("/inputs", "/parameters", "/constants"))
}

// samples returns a graph of one node for each sample of an operator.
func samples(t *testing.T) [][]byte {
	t.Helper()
	data, err := os.ReadFile("../internal/graph/testdata/operators.json")
	require.NoError(t, err)
	var list []struct {
		Op         string
		Operands   []any
		Attributes node
		Result     struct{ Shape []int }
	}
	require.NoError(t, json.Unmarshal(data, &list, json.MatchCaseInsensitiveNames(true)))
	var documents [][]byte
	for _, s := range list {
		inputs := node{}
		for i, operand := range s.Operands {
			if _, array := operand.(node); array {
				s.Operands[i] = fmt.Sprintf("x%d", i)
				inputs[fmt.Sprintf("x%d", i)] = "x"
			}
		}
		document, err := json.Marshal(node{
			"version": 1, "inputs": inputs, "parameters": []string{}, "constants": []string{}, "output": "y",
			"nodes": []node{{
				"name": "y", "op": s.Op, "operands": s.Operands, "attributes": s.Attributes,
				"shape": s.Result.Shape, "module": "", "class": "",
			}},
		})
		require.NoError(t, err)
		_, err = graph.Parse(document)
		require.NoError(t, err)
		documents = append(documents, document)
	}
	return documents
}

// The schema has a rule for each operator: how many operands it takes, and which attributes.
func TestTheSchemaHasTheOperators(t *testing.T) {
	var rules []string
	for _, o := range graph.Operators() {
		rules = append(rules, "        "+rule(o))
	}
	data, err := os.ReadFile(graphSchema)
	require.NoError(t, err)
	inside := regexp.MustCompile(`(?s)"oneOf": \[\n.*? {6}\]`)
	all := "\"oneOf\": [\n" + strings.Join(rules, ",\n") + "\n      ]"
	want := inside.ReplaceAllStringFunc(string(data), func(string) string { return all })
	if *update {
		require.NoError(t, os.WriteFile(graphSchema, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(data), "run go test ./harness/schemas -run TestTheSchemaHasTheOperators -update")
}

// rule returns the alternative of one operator as JSON.
func rule(o graph.Operator) string {
	least, most := len(o.Operands), len(o.Operands)
	for least > 0 && strings.Contains(o.Operands[least-1], "?") {
		least--
	}
	limit := fmt.Sprintf(`, "maxItems": %d`, most)
	if strings.HasSuffix(o.Operands[most-1], "...") {
		limit = ""
	}
	var names, required []string
	for _, a := range o.Attributes {
		name := fmt.Sprintf("%q", strings.TrimSuffix(a, "?"))
		names = append(names, name)
		if !strings.HasSuffix(a, "?") {
			required = append(required, name)
		}
	}
	return fmt.Sprintf(`{"properties": {"op": {"const": %q}, "operands": {"minItems": %d%s}, `+
		`"attributes": {"required": [%s], "propertyNames": {"enum": [%s]}}}}`,
		o.Name, least, limit, strings.Join(required, ", "), strings.Join(names, ", "))
}

func TestTheSchemaAndTheReaderOfGraphsRefuse(t *testing.T) {
	s := open(t, graphSchema)
	const good = `{"version": 1, "inputs": {"x": "x"}, "parameters": ["w"], "constants": [], "output": "y", "nodes": [
		{"name": "y", "op": "linear", "operands": ["x", "w", null], "attributes": {"weight": "out, in"},
		"shape": [2], "module": "up", "class": "Linear"}]}`
	s.validate(t, "a graph", []byte(good))
	for old, bad := range map[string]string{
		`"version": 1`:            `"version": 2`,
		`"op": "linear"`:          `"op": "line"`,
		`["x", "w", null]`:        `["x"]`,
		`["x", "w", null], `:      `["x", "w", null, null], `,
		`"shape": [2]`:            `"shape": [-2]`,
		`"module": "up"`:          `"modules": "up"`,
		`{"weight": "out, in"}`:   `{"weight": "out, in", "wait": 1}`,
		`"parameters": ["w"]`:     `"parameters": ["w"], "more": 1`,
		`"class": "Linear"`:       `"class": 3`,
		`"attributes": {"weight"`: `"attributes": {"times": 0.5, "weight"`,
	} {
		broken := strings.Replace(good, old, bad, 1)
		require.NotEqual(t, good, broken)
		s.refuses(t, []byte(broken))
		_, err := graph.Parse([]byte(broken))
		require.Error(t, err, broken)
	}
	// The schema alone knows which attributes an operator has.
	s.refuses(t, []byte(strings.Replace(good, `{"weight": "out, in"}`, `{"weight": "out, in", "eps": 1}`, 1)))
	s.refuses(t, []byte(strings.Replace(good, `{"weight": "out, in"}`, `{}`, 1)))
}
