package schemas_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/protocol"
)

func TestRequestsOfAllCases(t *testing.T) {
	s := open(t, requestSchema)
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	for _, name := range names {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		s.validate(t, name, request(t, c))
	}
	x, err := npy.TensorArray(attention.NewTensor(2, 3), fixture.Float32)
	require.NoError(t, err)
	s.validate(t, "a module", request(t, &fixture.Case{
		Name: "model/layer", Op: fixture.Module, Module: "torch.nn.Linear", Precision: fixture.Float32,
		Given: map[string]*npy.Array{"inputs.x": x, "state_dict.weight": x},
	}))
	s.validate(t, "a described module", request(t, &fixture.Case{
		Name: "model/layer", Op: fixture.Module, Module: "torch.nn.Linear", Precision: fixture.Float32,
		Structure: []string{"Linear()"}, Settings: []byte(`{"heads": 2}`), Stored: fixture.BFloat16,
		Part: "logits",
	}))
	require.Empty(t, s.unseen())
}

func request(t *testing.T, c *fixture.Case) []byte {
	t.Helper()
	r, _, err := protocol.New(c)
	require.NoError(t, err)
	text, err := r.JSON()
	require.NoError(t, err)
	return text
}
