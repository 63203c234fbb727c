package attention_test

import (
	"testing"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness"
)

// The implementation computes what PyTorch computes.
func TestPyTorch(t *testing.T) {
	harness.Run(t, fixtures.FS, harness.Subject{
		Name: "attention",
		SDPA: attention.SDPA,
		MHA:  func(c attention.Config) (harness.Module, error) { return attention.New(c) },
	})
}
