package fit

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// A feature adds to a row what an error has of it.
func TestFeature(t *testing.T) {
	output := oracle.Linear{In: 3, Out: 2, Weight: []float64{1, 2, 3, 4, 5, 6}}
	x := newFeature(output, mat.NewDense(2, 2, []float64{0, 10, 0, 20}), 1, 2)
	require.Equal(t, feature{from: []float64{10, 20}, to: []float64{3, 6}}, x)
	row := []float64{100, 200}
	x.addTo(row, []float64{1, 2}) // the error has 10 + 40 of it
	require.Equal(t, []float64{100 + 50*3, 200 + 50*6}, row)
}

// The head whose scores are others accounts for all that is wrong, and no other head does. With one
// key head for two query heads, the group is found.
func TestHeadsAlone(t *testing.T) {
	p := oracletest.First(oracletest.Tall(2), 2)
	for h := range 2 {
		wrong := p.Clone()
		for at := h * 6 * 13; at < (h+1)*6*13; at++ {
			wrong.Layer.Query.Weight[at] *= -1
		}
		f := fitterOf(t, p, oracletest.InFloat32(wrong.Run()))
		require.True(t, f.isWithin([]int{h}))
		require.False(t, f.isWithin([]int{1 - h}))
		require.Equal(t, []int{h}, f.headsAlone())
		require.Equal(t, []int{h}, f.candidateHeads(QueryProjection))
		require.Equal(t, []int{h}, f.candidateHeads(ValueProjection))
		require.Equal(t, []int{0, 1}, f.candidateHeads(OutputProjection))
		require.False(t, f.explainsAlone([]int{0, 1}), "13 elements of a row are too few for 12 features")

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		f.ctx = ended
		require.False(t, f.explainsAlone([]int{h}))
		f.ctx = t.Context()
		f.got[13*5] += 1
		require.False(t, f.explainsAlone([]int{h}), "another row is wrong")
	}
	require.Equal(t, []int{0, 1}, fitterOf(t, p, p.Run().Value).candidateHeads(QueryProjection))
	require.Nil(t, fitterOf(t, p, p.Run().Value).headsAlone(), "nothing is wrong in either")
	p.Layer.Heads, p.Layer.KVHeads, p.Layer.Output.Out = 1, 1, 20
	p.Layer.Output.Weight = oracletest.Normal(rand.New(rand.NewPCG(1, 1)), 20, 12).Value
	p.Layer.Output.Bias = nil
	require.True(t, fitterOf(t, p, p.Run().Value).isWithin([]int{0}))
	require.Nil(t, fitterOf(t, p, p.Run().Value).headsAlone(), "the only head says nothing")
}

// Nine elements of a row are enough for six features, and eight are not.
func TestHeadsOfANarrowOutput(t *testing.T) {
	for out, want := range map[int]bool{9: true, 8: false} {
		p := oracletest.First(oracletest.Tall(2), 2)
		w := &p.Layer.Output
		w.Out, w.Weight, w.Bias = out, w.Weight[:out*12], w.Bias[:out]
		require.Equal(t, want, fitterOf(t, p, p.Run().Value).explainsAlone([]int{0}))
	}
	p := oracletest.First(oracletest.Tall(2), 2)
	blankRows(p)
	require.False(t, fitterOf(t, p, p.Run().Value).explainsAlone([]int{0}), "a row of no numbers")
	p.EmptyRow = attention.EmptyZero
	require.True(t, fitterOf(t, p, p.Run().Value).explainsAlone([]int{0}))
	for o := range 13 {
		p.Layer.Output.Weight[12*o+1] = p.Layer.Output.Weight[12*o]
	}
	require.False(t, fitterOf(t, p, p.Run().Value).explainsAlone([]int{0}), "two features have one effect")
}

// grouped is a layer of 4 query heads with 3 features, and of 2 key heads.
func grouped(batch int) *oracle.Problem {
	p := oracletest.First(oracletest.Tall(2), batch)
	p.Layer.Heads = 4
	k, v := &p.Layer.Key, &p.Layer.Value
	k.Out, k.Weight, k.Bias = 6, k.Weight[:66], k.Bias[:6]
	v.Out, v.Weight, v.Bias = 6, v.Weight[:60], v.Bias[:6]
	return p
}

// Two query heads of one key head are wrong together.
func TestGroupAlone(t *testing.T) {
	p := grouped(2)
	for g := range 2 {
		wrong := p.Clone()
		for at := g * 3 * 10; at < (g+1)*3*10; at++ {
			wrong.Layer.Value.Weight[at] *= -1
		}
		f := fitterOf(t, p, oracletest.InFloat32(wrong.Run()))
		require.Equal(t, []int{2 * g, 2*g + 1}, f.headsAlone())
	}
	f := fitterOf(t, p, nil)
	require.Empty(t, f.headText(nil))
	require.Equal(t, "all that is wrong lies in what head 2-3 gives: only where columns 6-11 of o.weight lead; "+
		"the other heads and the output weight are right", f.headText([]int{2, 3}))
}
