package blob

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/replay"
)

// A blob may hold two wrong numbers of a model. More numbers, two of an attention case, and a value
// that is not finite are refused.
func TestTwoNumbers(t *testing.T) {
	model, attention := &fixture.Case{Op: fixture.Module}, &fixture.Case{Op: fixture.SDPA}
	beside := func(value float64, third *replay.NumberMatch) replay.NumberMatch {
		return replay.NumberMatch{Value: 1, Beside: &replay.NumberMatch{Value: value, Beside: third}}
	}
	require.NoError(t, checkNumber(beside(2, nil), model))
	require.ErrorContains(t, checkNumber(beside(math.NaN(), nil), model), "not finite")
	require.ErrorContains(t, checkNumber(beside(2, nil), attention), "more numbers than a search finds")
	require.ErrorContains(t, checkNumber(beside(2, &replay.NumberMatch{}), model), "more numbers than a search finds")
}
