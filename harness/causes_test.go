package harness

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/report"
)

// A layer without its masks: every failure has one of two causes, or both, and no passing case
// speaks against either.
func TestCausesOfALayerWithoutMasks(t *testing.T) {
	s := Subject{Name: "maskless", MHA: func(c attention.Config) (Module, error) {
		c.Bidirectional = true
		m, err := attention.New(c)
		return unpadded{m}, err
	}}
	r, err := Check(context.Background(), fixtures.FS, s, "mha/causal", "mha/padding", "mha/causal-left-padding", "mha/unmasked", "seed/causal", "seed/unmasked")
	require.NoError(t, err)
	require.Len(t, r.Causes, 2)
	causal, padding := r.Causes[0], r.Causes[1]
	if causal.ID != "causal-missing" {
		causal, padding = padding, causal
	}
	require.Equal(t, "causal-missing", causal.ID)
	require.Equal(t, []string{"mha/causal", "mha/causal-left-padding", "seed/causal"}, causal.Failures)
	require.Equal(t, "padding-ignored", padding.ID)
	require.Equal(t, []string{"mha/padding", "mha/causal-left-padding"}, padding.Failures)
	require.Empty(t, causal.Contradictions)
	require.Empty(t, padding.Contradictions)

	var text strings.Builder
	require.NoError(t, report.Text(report.TextOptions{})(&text, r))
	require.Contains(t, text.String(), "CAUSE causal-missing explains 3 of 4 failures and none of the 2 passes contradicts it\n  what      the causal mask missing\n  failures  mha/causal, mha/causal-left-padding, seed/causal\n")
}

// A mask that is missing only in some layers is no mistake of all of them.
func TestCausesAreContradicted(t *testing.T) {
	s := Subject{Name: "seed alone", MHA: func(c attention.Config) (Module, error) {
		c.Bidirectional = c.Bidirectional || c.Keys == attention.SeedKeys
		return attention.New(c)
	}}
	r, err := Check(context.Background(), fixtures.FS, s, "mha/causal", "mha/padding", "seed/causal")
	require.NoError(t, err)
	require.Len(t, r.Causes, 1)
	require.Equal(t, []string{"seed/causal"}, r.Causes[0].Failures)
	require.Equal(t, []string{"mha/causal"}, r.Causes[0].Contradictions)

	var text strings.Builder
	require.NoError(t, report.Text(report.TextOptions{})(&text, r))
	require.Contains(t, text.String(), "CAUSE causal-missing explains the failure, but 1 of the 2 passes contradict it\n")
	require.Contains(t, text.String(), "  passes    mha/causal: with it they would fail, so it is not made everywhere\n")
}

func TestARightSubjectHasNoCauses(t *testing.T) {
	r, err := Check(context.Background(), fixtures.FS, builtIn, "mha/causal", "seed/causal")
	require.NoError(t, err)
	require.Empty(t, r.Causes)
}

// unpadded is a layer that takes no padding.
type unpadded struct{ *attention.MultiHead }

func (u unpadded) Forward(in attention.Inputs) (attention.Outputs, error) {
	in.Padding = nil
	return u.MultiHead.Forward(in)
}
