package blob_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/blob"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/shard"
)

// A blob that is accepted is written and read again.
func FuzzRead(f *testing.F) {
	var empty strings.Builder
	require.NoError(f, blob.New(blob.Run{}, shard.Shard{Index: 1, Count: 2}, &report.Report{}).Write(&empty))
	for _, text := range []string{empty.String(), strings.Replace(empty.String(), ":0", ":1", 1), "{}", "null\n{}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := blob.Read(strings.NewReader(text))
		if err != nil {
			return
		}
		var again strings.Builder
		require.NoError(t, b.Write(&again))
		_, err = blob.Read(strings.NewReader(again.String()))
		require.NoError(t, err)
	})
}
