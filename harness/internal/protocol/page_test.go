package protocol_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/protocol"
)

// The author of an implementation reads this page alone: it names every field and every word.
func TestPageNamesEveryField(t *testing.T) {
	text, err := os.ReadFile("../../PROTOCOL.md")
	require.NoError(t, err)
	page := string(text)
	for _, message := range []any{
		protocol.Start{}, protocol.Run{}, protocol.Done{}, protocol.Stop{}, protocol.Reply{}, protocol.Started{},
		protocol.Request{}, protocol.Function{}, protocol.Layer{}, protocol.RoPE{}, protocol.QKNorm{},
		protocol.Rotary{},
		protocol.Module{},
	} {
		kind := reflect.TypeOf(message)
		for i := range kind.NumField() {
			if name, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ","); name != "" {
				require.Contains(t, page, "`"+name+"`", "%v", kind)
			}
		}
	}
	for _, feature := range protocol.AllFeatures() {
		require.Contains(t, page, "`"+feature+"`")
	}
	for _, word := range []protocol.Type{
		protocol.TypeStart, protocol.TypeRun, protocol.TypeDone, protocol.TypeStop,
		protocol.TypeStarted, protocol.TypeOK, protocol.TypeSkipped, protocol.TypeError,
	} {
		require.Contains(t, page, "`"+string(word)+"`")
	}
	for _, file := range []string{protocol.RequestFile, protocol.OutputFile, protocol.WeightsFile, protocol.ReplyFile} {
		require.Contains(t, page, file)
	}
}

// ParseReply accepts every answer on the page.
func TestPageShowsAnswers(t *testing.T) {
	text, err := os.ReadFile("../../PROTOCOL.md")
	require.NoError(t, err)
	answers := 0
	for line := range strings.Lines(string(text)) {
		if answer, ok := strings.CutPrefix(line, "< "); ok {
			answers++
			_, err := protocol.ParseReply([]byte(answer))
			require.NoError(t, err, answer)
		}
	}
	require.Equal(t, 6, answers)
}
