package pattern

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/variant"
)

// The weights of one head are recovered without the others, from an output in which its scores
// alone are wrong; the weights of other heads stay zero.
func TestRecoverWeightsOfOneHead(t *testing.T) {
	p := oracletest.Tall(2)
	wrong := p.Clone()
	size := len(p.Layer.Query.Weight) / 2
	for i := range size { // the query weight of head 0
		wrong.Layer.Query.Weight[i] *= 1.5
	}
	w, reason := RecoverWeights(p, p.Trace(), variant.Variant{}.Run(wrong), []int{0})
	require.Empty(t, reason)
	require.False(t, w.FarFromMixtures())
	want := wrong.Trace()
	perHead := want.Queries * want.Keys
	for at, v := range want.Weights {
		if at/perHead%2 == 0 {
			require.LessOrEqual(t, math.Abs(w.Value[at]-v), Certainty*w.Sigma[at]+1e-7, at)
		} else {
			require.Zero(t, w.Value[at])
		}
	}
}

// A context outside the span of the values is far from every mixture.
func TestFarFromMixtures(t *testing.T) {
	p := oracletest.Tall(2)
	wrong := p.Clone()
	wrong.Layer.Value.Weight = slices.Clone(p.Layer.Value.Weight)
	slices.Reverse(wrong.Layer.Value.Weight)
	w, reason := RecoverWeights(p, p.Trace(), variant.Variant{}.Run(wrong), []int{0, 1})
	require.Empty(t, reason)
	require.True(t, w.FarFromMixtures())
}

func TestUntraceable(t *testing.T) {
	l := &oracle.Layer{Heads: 12, KVHeads: 12}
	large := oracle.Array{Shape: []int{2, 1024, 768}}
	reason := Untraceable(&oracle.Problem{Query: large, Key: large, Layer: l})
	require.Equal(t, "the case is too large: 25165824 attention weights", reason)
	require.Empty(t, Untraceable(oracletest.Tall(2)))
}
