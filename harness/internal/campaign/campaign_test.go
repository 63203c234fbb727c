package campaign_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
)

func TestFull(t *testing.T) {
	for value, want := range map[string]bool{"1": true, "": false, "0": false, "yes": false} {
		t.Setenv(campaign.Variable, value)
		require.Equal(t, want, campaign.Full(), "%s=%q", campaign.Variable, value)
	}
}

// A test of seconds is skipped in `go test -short`, and nowhere else.
func TestSkipShort(t *testing.T) {
	t.Run("long", func(t *testing.T) {
		t.Cleanup(func() { require.Equal(t, testing.Short(), t.Skipped()) })
		campaign.SkipShort(t)
	})
}
