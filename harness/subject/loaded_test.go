package subject_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/subject"
)

func TestLoading(t *testing.T) {
	c := readCase(t, "mha/padding")
	s := subjectOf(layer{})
	want := s.Run(c)
	require.NoError(t, want.Err)

	same := s.Loading(c.State).Run(c)
	require.NoError(t, same.Err)
	require.Equal(t, want.Output, same.Output)

	other := attention.StateDict{}
	for key, v := range c.State {
		other[key] = v.Clone()
	}
	clear(other["out_proj.weight"].Data)
	zero := s.Loading(other).Run(c)
	require.NoError(t, zero.Err)
	require.Equal(t, c.State["out_proj.bias"].Data, zero.Output.Data[:40], "nothing but the bias is left")

	delete(other, "out_proj.bias")
	require.ErrorContains(t, s.Loading(other).Run(c).Err, `load the state dict: of its own: error(s) in loading state_dict for MultiHead:`)
	require.ErrorIs(t, subject.Subject{}.Loading(other).Run(c).Err, subject.ErrNotOffered)
}
