package subject_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/subject"
)

// A series keeps one layer, which loads a state dict only if the last case had another.
func TestSeries(t *testing.T) {
	c := harnesstest.ReadCase(t, "mha/causal")
	other := *c
	other.State = attention.StateDict{}
	for key, t := range c.State {
		other.State[key] = attention.NewTensor(t.Shape...)
	}
	layers, loads := 0, 0
	s := subject.Subject{MHA: func(config attention.Config) (subject.Module, error) {
		layers++
		m, err := attention.New(config)
		return &harnesstest.Layer{MultiHead: m, OnLoad: func(d attention.StateDict) error {
			loads++
			_, err := m.LoadStateDict(d, attention.Strict)
			return err
		}}, err
	}}
	out, err := s.Series(t.Context(), c, c, &other, c)
	require.NoError(t, err)
	require.Len(t, out, 4)
	require.Equal(t, 1, layers)
	require.Equal(t, 3, loads)
	require.Equal(t, out[0], out[3])
	require.NotEqual(t, out[0], out[2])

	_, err = subject.Subject{}.Series(t.Context(), c)
	require.ErrorIs(t, err, subject.ErrNotOffered)
}
