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
