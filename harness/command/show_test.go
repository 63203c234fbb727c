package command

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/fixture"
)

// show prints what a porter of a module needs: its parts and its settings.
func TestShowDescribesModule(t *testing.T) {
	c, err := fixture.Read(os.DirFS("../internal/edits/testdata"), "models/llama")
	require.NoError(t, err)
	c.Settings, c.Stored = []byte(`{"heads":4,"rope":{"base":10000}}`), fixture.BFloat16
	var out bytes.Buffer
	require.NoError(t, show(&out, c))
	require.Contains(t, out.String(), "\nparameters  bfloat16, computed in float32\n")
	require.Contains(t, out.String(), "\nstructure\n  Decoder(\n    (embed_tokens): Embedding(31, 24)\n")
	require.Contains(t, out.String(),
		"\nsettings\n  {\n    \"heads\": 4,\n    \"rope\": {\n      \"base\": 10000\n    }\n  }\n")
	c.Structure, c.Settings, c.Stored, out = nil, nil, "", bytes.Buffer{}
	require.NoError(t, show(&out, c))
	for _, absent := range []string{"\nstructure\n", "\nsettings\n", "\nparameters  "} {
		require.NotContains(t, out.String(), absent)
	}
}
