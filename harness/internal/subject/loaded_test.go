package subject_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/subject"
)

func TestLoading(t *testing.T) {
	c := harnesstest.ReadCase(t, "mha/padding")
	s := harnesstest.SubjectOf(harnesstest.Layer{})
	want := s.Run(t.Context(), c)
	require.NoError(t, want.Err)

	same := subject.Loading(s, c.State).Run(t.Context(), c)
	require.NoError(t, same.Err)
	require.Equal(t, want.Output, same.Output)

	other := attention.StateDict{}
	for key, v := range c.State {
		other[key] = v.Clone()
	}
	clear(other["out_proj.weight"].Data)
	zero := subject.Loading(s, other).Run(t.Context(), c)
	require.NoError(t, zero.Err)
	require.Empty(t, zero.Findings)
	require.Equal(t, c.State["out_proj.bias"].Data, zero.Output.Data[:40], "nothing but the bias is left")
	require.NotZero(t, c.State["out_proj.weight"].Data[0], "the case is as it was")

	delete(other, "out_proj.bias")
	lenient := harnesstest.SubjectOf(harnesstest.Layer{OnLoad: func(attention.StateDict) error { return nil }})
	require.ErrorContains(t, subject.Loading(lenient, other).Run(t.Context(), c).Err,
		`load the state dict: error(s) in loading state_dict for MultiHead:`)
}
