package protocol_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/protocol"
)

func TestPlace(t *testing.T) {
	cases := []string{"a/b", "a/b/inputs", "c"}
	for file, want := range map[string]protocol.Belonging{
		"a/b/output.npy":               protocol.Answer,
		"a/b/weights.npy":              protocol.Answer,
		"a/b/reply.json":               protocol.Answer,
		"a/b/request.json":             protocol.Question,
		"a/b/inputs/query.npy":         protocol.Question,
		"a/b/state_dict/W_Q.npy":       protocol.Question,
		"a/b/inputs/output.npy":        protocol.Answer, // of the case a/b/inputs
		"a/b/state_dict/output.npy":    protocol.Question,
		"a/b/inputs/query.txt":         protocol.Unknown,
		"a/b/inputs/deep/er/query.npy": protocol.Unknown,
		"a/b/expected/output.npy":      protocol.Unknown,
		"a/output.npy":                 protocol.Elsewhere,
		"output.npy":                   protocol.Elsewhere,
		"c/case.json":                  protocol.Unknown,
		"cc/output.npy":                protocol.Elsewhere,
		"/a/b/output.npy":              protocol.Elsewhere, // a rooted path ends at its root
	} {
		require.Equal(t, want, protocol.Place(file, cases), file)
	}
	require.Equal(t, protocol.Answer, protocol.Place("output.npy", []string{"."}))
	require.Equal(t, protocol.Question, protocol.Place("inputs/query.npy", []string{"."}))
}
