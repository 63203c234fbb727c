package selftest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
)

// A pair whose second mistake changes nothing has the output of the first alone.
func TestIdentifiable(t *testing.T) {
	tr := drawnTrial(1, 1)
	tr.plantAll()
	plantPair := func(a, b string) plant {
		one, _ := catalogue.ByID(a)
		two, _ := catalogue.ByID(b)
		p, ok := tr.plant(tr.rand("test"), one, two)
		require.True(t, ok)
		return p
	}
	hidden := plantPair("output-weight-zero", "scale-missing")
	own := plantPair("value-weight-transposed", "scale-missing")
	identifiable, err := tr.identifiable(t.Context(), []plant{hidden, own}, nil)
	require.NoError(t, err)
	require.Equal(t, []bool{false, true}, identifiable)
}

// A pair with the output of another pair is not identifiable.
func TestIdentifiableAmongPairs(t *testing.T) {
	tr := drawnTrial(1, 1)
	pair := func(a, b string) [2]catalogue.Mistake {
		one, _ := catalogue.ByID(a)
		two, _ := catalogue.ByID(b)
		return [2]catalogue.Mistake{one, two}
	}
	masks := pair("mask-multiplied", "value-weight-transposed")
	same := pair("mask-value-near-zero", "value-weight-transposed")
	other := pair("scale-missing", "value-weight-transposed")
	p, ok := tr.plant(tr.rand("test"), masks[:]...)
	require.True(t, ok)
	for _, tc := range []struct {
		among [][2]catalogue.Mistake
		want  bool
	}{
		{[][2]catalogue.Mistake{masks, other}, true},
		{[][2]catalogue.Mistake{masks, other, same}, false},
	} {
		identifiable, err := tr.identifiable(t.Context(), []plant{p}, tc.among)
		require.NoError(t, err)
		require.Equal(t, []bool{tc.want}, identifiable)
	}
}
