package replay

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

func idsOfMistakes(list []catalogue.Mistake) (ids []string) {
	for _, m := range list {
		ids = append(ids, m.ID)
	}
	return ids
}

func reasons(v Visibility) map[string]string {
	why := map[string]string{}
	for _, b := range v.Blind {
		why[b.Mistake.ID] = b.Why
	}
	return why
}

func TestVisibilitySortsTheMistakes(t *testing.T) {
	p := oracletest.Padded()
	p.Padding = attention.NewMask(2, 3) // nothing is padded
	v := caseOf(p).Visibility()
	require.Contains(t, idsOfMistakes(v.Seen), "causal-missing")
	require.Equal(t, "the output is the same", reasons(v)["padding-ignored"])
	absent := []string{"causal-added", "mask-ignored", "mask-inverted", "bias-ignored"}
	require.Subset(t, idsOfMistakes(v.Absent), absent)
	require.Len(t, catalogue.Mistakes, len(v.Seen)+len(v.Blind)+len(v.Absent))
	for _, m := range v.Absent {
		require.NotEmpty(t, m.Needs, m.ID)
	}
}

// With one query after all keys a missing causal mask changes nothing, and the visibility says
// why.
func TestVisibilitySaysWhyAndWhatIsAlike(t *testing.T) {
	p := oracletest.Padded()
	for _, in := range []*oracle.Array{&p.Query, &p.Key, &p.Value} {
		*in = oracle.Array{Shape: []int{2, 1, 4}, Value: p.Query.Value[:8]}
	}
	p.Padding = nil
	past := oracle.Array{Shape: []int{2, 2, 1, 2}, Value: p.Query.Value[:8]}
	p.Past, p.Offset = &oracle.Past{Key: past, Value: past}, 1
	v := caseOf(p).Visibility()
	why := reasons(v)
	require.Equal(t, "the output is the same: one query, and every key is in its past", why["causal-missing"])
	require.Contains(t, why, "inputs-time-reversed")

	class := v.Class()
	require.Len(t, class, len(catalogue.Mistakes))
	for i, m := range catalogue.Mistakes {
		seen := slices.Contains(idsOfMistakes(v.Seen), m.ID)
		require.Equal(t, !seen, class[i] == -1, m.ID)
		if seen {
			require.Empty(t, why[m.ID], m.ID)
		}
	}
	for _, group := range v.Alike {
		require.Greater(t, len(group), 1)
	}
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

	// An output at the limit of the residual is near. Whether a quotient is 0.05 to the last bit
	// depends on the size.
	near, other := slices.Clone(out), slices.Clone(out)
	for size := 1.0; compare.Residual(near, other) != compare.MaxResidual; size += 0.01 {
		for i, v := range out {
			near[i], other[i] = size*v, size*v/1.05
		}
	}
	noise.Value = near
	limit := group{alike: one, first: other, noise: &noise}
	require.Len(t, c.grouped([]group{limit}, Replay{Mistake: r.Mistake, Outputs: [][]float64{near}}), 1)
}

// A case with too little of something does not show a mistake.
func TestWhyAMistakeIsHidden(t *testing.T) {
	tokens := func(batch, n int) oracle.Array {
		return oracle.Array{Shape: []int{batch, 1, n, 2}, Value: make([]float64, 2*batch*n)}
	}
	of := func(kind catalogue.Kind, batch, queries, keys int, change func(p *oracle.Problem)) string {
		p := &oracle.Problem{
			Query: tokens(batch, queries), Key: tokens(batch, keys), Value: tokens(batch, keys), Scale: 1,
			EmptyRow: attention.EmptyZero,
		}
		change(p)
		c := &Case{Problem: p}
		return c.why(Replay{Mistake: catalogue.Mistake{Kind: kind}, Comparisons: []compare.Comparison{{}}})
	}
	same := func(*oracle.Problem) {}
	const text = "the output is the same"
	require.Equal(t, text, of(catalogue.Missing, 2, 3, 4, same))
	require.Equal(t, text+": every query sees one key at most", of(catalogue.Missing, 2, 3, 1, same))
	require.Equal(t, text+": every query sees one key at most", of(catalogue.Altered, 2, 1, 1, same))
	past := func(p *oracle.Problem) { p.Offset = 3 }
	require.Equal(t, text+": one query, and every key is in its past", of(catalogue.Altered, 2, 1, 4, past))
	require.Equal(t, text, of(catalogue.Altered, 2, 2, 4, past))
	require.Equal(t, text, of(catalogue.Altered, 2, 1, 4, same))
	window := func(p *oracle.Problem) { p.Window = 9 }
	require.Equal(t, text+": a window as narrow as this hides the same keys", of(catalogue.Altered, 2, 3, 4, window))
	require.Equal(t, text, of(catalogue.Missing, 2, 3, 4, window))
	narrow := func(p *oracle.Problem) { p.Window = 1 }
	require.Equal(t, text+": every query sees one key at most", of(catalogue.Altered, 2, 3, 1, narrow))
	require.Equal(t, text, of(catalogue.Missing, 2, 3, 2, same))
	turn := func(p *oracle.Problem) { p.Turn = &oracle.Turn{} }
	require.Equal(t, text, of(catalogue.Missing, 2, 3, 1, turn), "nothing sees keys")
	require.Equal(t, text+": one position", of(catalogue.Layout, 1, 1, 4, same))
	require.Equal(t, text+": one batch element", of(catalogue.Layout, 1, 2, 4, same))
	require.Equal(t, text, of(catalogue.Layout, 2, 2, 4, same))
	require.Equal(t, text, of(catalogue.Parameters, 1, 1, 1, same))
	noisy := Replay{Comparisons: []compare.Comparison{{Rel: 3e-8, MaxZ: 2}}}
	require.Equal(t, "it changes the output by 3e-08 of it, max z 2: within the noise", (&Case{}).why(noisy))
	for rel, want := range map[float64]string{
		0x1p-40: text, 1.5 * 0x1p-40: "it changes the output by 1.4e-12 of it, max z 0: within the noise",
	} {
		require.Equal(t, want, (&Case{}).why(Replay{Comparisons: []compare.Comparison{{Rel: rel}}}))
	}
}
