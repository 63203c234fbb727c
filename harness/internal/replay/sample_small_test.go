package replay

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// truthOf returns a truth of some shape whose values are their indices.
func truthOf(shape ...int) compare.Expected {
	e := compare.Expected{Shape: shape, Value: make([]float64, num.Size(shape)), Sigma: make([]float64, num.Size(shape))}
	for i := range e.Value {
		e.Value[i] = float64(i)
	}
	return e
}

// A sample takes the batch element whose queries see the most different numbers of keys, of equals
// the last: ten positions of it, and those that see no key or the fewest.
func TestPositionsOfASample(t *testing.T) {
	spread := []int{0, 28, 56, 85, 113, 141, 170, 198, 226, 255} // of 256
	p := oracletest.Long()
	s := newSample(p, truthOf(2, 256, 96))
	var want []int
	for _, i := range spread {
		want = append(want, 256+i)
	}
	require.Equal(t, want, s.Rows, "the first element is padded")
	require.Equal(t, []int{10, 96}, s.Truth.Shape)
	require.InDelta(t, (256+28)*96+5, s.Truth.Value[96+5], 0)

	for i := range 256 {
		p.Padding.Data[i], p.Padding.Data[256+i] = false, i < 10 || i > 200
	}
	require.Equal(t, spread, newSample(p, truthOf(2, 256, 96)).Rows, "the second element is padded")
	for i := range 256 {
		p.Padding.Data[256+i], p.Padding.Data[i] = false, false
	}
	require.Equal(t, want, newSample(p, truthOf(2, 256, 96)).Rows, "both are alike")
	for i := range 30 {
		p.Padding.Data[i], p.Padding.Data[256+i] = true, true
	}
	p.Padding.Data[255], p.Padding.Data[511] = true, true
	want = nil
	// 0 sees no key, 30 sees one.
	for _, i := range []int{0, 28, 30, 56, 85, 113, 141, 170, 198, 226, 255} {
		want = append(want, 256+i)
	}
	require.Equal(t, want, newSample(p, truthOf(2, 256, 96)).Rows)

	// The heads of a function have a sample each.
	f := oracletest.Wide()
	rows := newSample(f, truthOf(1, 2, 1024, 8)).Rows
	require.Equal(t, []int{0, 113, 227, 341, 454, 568, 682, 795, 909, 1023}, rows[:10])
	for i, row := range rows[:10] {
		require.Equal(t, 1024+row, rows[10+i])
	}
	require.Len(t, rows, 20)

	small := newSample(oracletest.Padded(), truthOf(2, 3, 4))
	require.Nil(t, small.Rows)
	require.Equal(t, truthOf(2, 3, 4), small.Truth)
}

// A case counts as large above thirty million multiplications.
func TestLargeCases(t *testing.T) {
	of := func(n int) oracle.Array {
		return oracle.Array{Shape: []int{1, 1, n, 500}, Value: make([]float64, 500*n)}
	}
	for keys, partial := range map[int]bool{3000: false, 3001: true} {
		p := &oracle.Problem{Query: of(10), Key: of(keys), Value: of(keys), Scale: 1}
		require.Equal(t, partial, newSample(p, truthOf(1, 1, 10, 500)).Partial())
	}
}

// Each draw has random numbers of its own. A mistake that does not apply once is not drawn again.
func TestRandomNumbersOfDraws(t *testing.T) {
	c := caseOf(oracletest.Padded())
	var drawn []float64
	m := catalogue.Mistake{Random: true, Plant: func(_ *oracle.Problem, r *rand.Rand) bool {
		drawn = append(drawn, r.Float64())
		return true
	}}
	_, err := c.Draw(t.Context(), m, 3)
	require.NoError(t, err)
	for i, v := range drawn {
		require.Equal(t, rand.New(rand.NewPCG(1, uint64(i))).Float64(), v)
	}
	require.Len(t, drawn, 3)
	asked := 0
	once := catalogue.Mistake{Plant: func(*oracle.Problem, *rand.Rand) bool {
		asked++
		return asked > 1
	}}
	r, err := c.Draw(t.Context(), once, 3)
	require.NoError(t, err)
	require.False(t, r.applies())
}

// Draws of a random mistake differ, and others are made as often as asked. A mistake that does not
// apply has no output.
func TestDrawsOfAMistake(t *testing.T) {
	c := caseOf(oracletest.Padded())
	noisy := catalogue.Mistake{Random: true, Plant: func(p *oracle.Problem, r *rand.Rand) bool {
		p.Value.Value = slices.Clone(p.Value.Value)
		p.Value.Value[5] += 1 + r.Float64()
		return true
	}}
	r, err := c.replay(t.Context(), noisy)
	require.NoError(t, err)
	require.Len(t, r.Outputs, 8)
	require.Len(t, r.Comparisons, 8)
	require.NotEqual(t, r.Outputs[0], r.Outputs[1])
	require.Equal(t, compare.Outputs(c.Truth.Shape, r.Outputs[7], c.Truth), r.Comparisons[7])
	noisy.Random = false
	r, err = c.replay(t.Context(), noisy)
	require.NoError(t, err)
	require.Len(t, r.Outputs, 1)
	none := catalogue.Mistake{Plant: func(*oracle.Problem, *rand.Rand) bool { return false }}
	r, err = c.replay(t.Context(), none)
	require.NoError(t, err)
	require.False(t, r.applies())
	_, err = c.Draw(ended(t), noisy, 1)
	require.Error(t, err)

	processors := runtime.GOMAXPROCS(0)
	require.Equal(t, processors, c.concurrency())
	require.Equal(t, min(2, processors), sampled(c, 1).concurrency())
	require.Equal(t, processors, runtime.GOMAXPROCS(0), "it stays")
	runtime.GOMAXPROCS(4)
	require.Equal(t, 4, c.concurrency())
	require.Equal(t, 2, sampled(c, 1).concurrency())
	runtime.GOMAXPROCS(processors)
	noisy.Random = true
	require.True(t, c.atOnce(noisy), "a small case")
	require.False(t, sampled(c, 1).atOnce(noisy))
	require.True(t, sampled(c, 1).atOnce(none))
}

// A mistake that the sample does not show is seen in other rows, unless it is random.
func TestSeenOutsideOfTheSample(t *testing.T) {
	p := oracletest.Padded()
	c := sampled(caseOf(p), 2, 5) // the last queries see every key
	all, _ := c.replays(t.Context(), every)
	i := slices.IndexFunc(all, func(r Replay) bool { return r.Mistake.ID == "causal-missing" })
	r := all[i]
	require.False(t, r.visible())
	require.True(t, c.sees(r))
	r.Mistake.Random = true
	require.False(t, c.sees(r))
	r.Mistake.Random = false
	c.sample.Rows = nil
	require.False(t, c.sees(r), "there are no other rows")

	right := catalogue.Mistake{Plant: func(*oracle.Problem, *rand.Rand) bool { return true }}
	c = sampled(caseOf(p), 2, 5)
	same, err := c.replay(t.Context(), right)
	require.NoError(t, err)
	require.False(t, c.sees(*same))
}

// Mistakes are alike if one gives the output of the other, to rounding. The classes follow.
func TestAlikeMistakes(t *testing.T) {
	c := caseOf(oracletest.Padded())
	v := c.Visibility()
	var first []catalogue.Mistake // of each class, in the catalogue's order
	var alike [][]string
	class := map[string]string{}
	for _, m := range v.Seen {
		var own oracle.Field
		if m.Replayable() {
			own = c.output(m, nil, oracle.ValuesAlone)
		}
		at := slices.IndexFunc(first, func(other catalogue.Mistake) bool {
			if !m.Replayable() || !other.Replayable() {
				return false
			}
			want := c.output(other, nil, oracle.WithNoise)
			return compare.Residual(own.Value, want.Value) <= compare.MaxResidual &&
				compare.Outputs(want.Shape, own.Value, want.Expected()).OK()
		})
		if at < 0 {
			first, alike = append(first, m), append(alike, []string{m.ID})
			class[m.ID] = m.ID
			continue
		}
		alike[at] = append(alike[at], m.ID)
		class[m.ID] = first[at].ID
	}
	alike = slices.DeleteFunc(alike, func(group []string) bool { return len(group) == 1 })
	require.Greater(t, len(alike), 3)
	var got [][]string
	for _, group := range v.Alike {
		got = append(got, catalogue.IDs(group))
	}
	require.Equal(t, alike, got)
	for i, at := range v.Class() {
		id := catalogue.Mistakes[i].ID
		if class[id] == "" {
			require.Equal(t, -1, at)
		} else {
			require.Equal(t, class[id], catalogue.Mistakes[at].ID)
		}
	}
}

// A mistake joins a group if the group's first output is near and within its noise. Random mistakes
// are never alike.
func TestGroupsOfMistakes(t *testing.T) {
	c := caseOf(oracletest.Padded())
	missing, _ := catalogue.ByID("causal-missing")
	r, err := c.replay(t.Context(), missing)
	require.NoError(t, err)
	out := r.Outputs[0]
	double := make([]float64, len(out))
	noise := c.output(r.Mistake, nil, oracle.WithNoise).Expected()
	for i, v := range out {
		double[i] = 2 * v
	}
	random := r.Mistake
	random.Random = true
	one := []catalogue.Mistake{r.Mistake}
	for name, tc := range map[string]struct {
		groups []group
		want   []int // mistakes of each group
	}{
		"none":                           {nil, []int{1}},
		"the same":                       {[]group{{alike: one, first: out}}, []int{2}},
		"far, though within the noise":   {[]group{{alike: one, first: double, noise: &noise}}, []int{1, 1}},
		"random":                         {[]group{{alike: []catalogue.Mistake{random}, first: out}}, []int{1, 1}},
		"the second":                     {[]group{{alike: one, first: double}, {alike: one, first: out}}, []int{1, 2}},
		"the first of two":               {[]group{{alike: one, first: out}, {alike: one, first: out}}, []int{2, 1}},
		"near, and not within the noise": {[]group{{alike: one, first: out, noise: &c.Truth}}, []int{1, 1}},
	} {
		var sizes []int
		for _, g := range c.grouped(tc.groups, *r) {
			sizes = append(sizes, len(g.alike))
		}
		require.Equal(t, tc.want, sizes, name)
	}
	require.Len(t, c.grouped([]group{{alike: one, first: out}}, Replay{Mistake: random}), 2)
}
