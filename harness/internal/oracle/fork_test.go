package oracle_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A clone may be changed, each parameter of it, without the problem noticing.
func TestCloneIsDeep(t *testing.T) {
	for n := range uint64(20) {
		p := randomDecoder(rand.New(rand.NewPCG(3, n)))
		before := p.Run()
		q := p.Clone()
		require.Equal(t, before, q.Run())
		for _, values := range q.Parameters() {
			for i := range *values {
				(*values)[i] += 0.5
			}
		}
		if q.Layer.QueryNorm != nil {
			q.Layer.QueryNorm.Epsilon, q.Layer.KeyNorm.Weight = 7, nil
		}
		q.Layer.Heads, q.Layer.Query.Bias = 1, nil
		require.Equal(t, before, p.Run())
	}
}
