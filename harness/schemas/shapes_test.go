package schemas_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"os"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/graph"
)

func TestStoredShapes(t *testing.T) {
	s := open(t, "shapes.schema.json")
	files, err := filepath.Glob("../../fixtures/*/*/shapes.json")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 3)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		s.validate(t, file, data)
		_, err = graph.ParseShapes(data)
		require.NoError(t, err, file)
	}
	data, err := os.ReadFile(files[0])
	require.NoError(t, err)
	for _, change := range [][2]string{
		{`"most_tokens"`, `"least_tokens"`}, {`{"tokens": 1}`, `{"pages": 1}`}, {`"kind": "ids"`, `"kind": "words"`},
	} {
		s.refuses(t, bytes.Replace(data, []byte(change[0]), []byte(change[1]), 1))
	}
	require.Empty(t, s.unseen("/made/parameters", "/graph/constants", "input/std"))
}
