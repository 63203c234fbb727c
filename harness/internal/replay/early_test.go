package replay

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// Early rows of a mistaken problem agree to the last bit with rows of the whole problem.
func TestEarlyRowsAreThoseOfTheWholeProblem(t *testing.T) {
	c := caseOf(oracletest.Long())
	require.Len(t, c.early.rows, 12)
	require.Equal(t, []int{257, 303}, []int{c.early.sample.Rows[0], c.early.sample.Rows[11]})
	var made []string
	for _, m := range catalogue.WithVariants {
		wrong, ok := catalogue.Make(c.Problem, rand.New(rand.NewPCG(1, 2)), m)
		if !ok {
			continue
		}
		p := c.early.of(wrong, m, c.Problem)
		if p == nil {
			continue
		}
		made = append(made, m.ID)
		own, err := p.Rows(t.Context(), c.early.rows, oracle.ValuesAlone)
		require.NoError(t, err)
		whole, err := wrong.Rows(t.Context(), c.early.sample.Rows, oracle.ValuesAlone)
		require.NoError(t, err)
		require.Equal(t, whole.Value, own.Value, m.ID)
	}
	require.Greater(t, len(made), 25)
	require.Subset(t, made, []string{
		"weights-transposed", "key-value-swapped", "value-weight-zero", "inputs-time-reversed", "precision-bfloat16",
	})
	require.NotContains(t, made, "key-bias-missing", "its keys are products that are known")
	require.NotContains(t, made, "causal-missing", "its rows see later keys")
	require.NotContains(t, made, "heads-untransposed", "its keys mix all positions")
}

// Mistakes that are made on early rows are named, and no others beside them.
func TestMistakesOnEarlyRowsAreNamed(t *testing.T) {
	c := caseOf(oracletest.Long())
	for _, id := range []string{"weights-transposed", "key-value-swapped", "value-weight-zero", "inputs-time-reversed"} {
		o := against(t, c, oracletest.InFloat32(planted(t, c.Problem, id).Run()))
		i := slices.IndexFunc(o.Visible, func(r Replay) bool { return r.Mistake.ID == id })
		require.True(t, o.Visible[i].Early, id)
		require.Less(t, o.distance(o.Visible[i]), 1e-5)
		matches, cut := FindSingle(t.Context(), o)
		require.Empty(t, cut)
		require.Contains(t, idsOf(matches), id)
		require.Equal(t, id == "weights-transposed", len(matches) > 1, "column by column is the same here")
	}
}

// An output that equals a mistake's in every early row, and in another row does not, has no match.
func TestEarlyRowsDoNotConfirm(t *testing.T) {
	c := caseOf(oracletest.Long())
	wrong := oracletest.InFloat32(planted(t, c.Problem, "key-value-swapped").Run())
	for _, row := range []int{100, 255, 500} {
		got := slices.Clone(wrong)
		got[row*96+1] += 1e-3
		matches, cut := FindSingle(t.Context(), against(t, c, got))
		require.Empty(t, cut)
		require.Empty(t, matches, "row %d", row)
	}
}

// A mistake that the early rows do not show is made on the sample.
func TestAMistakeThatEarlyRowsDoNotShow(t *testing.T) {
	c := caseOf(oracletest.Long())
	late := catalogue.Mistake{ID: "late", Plant: func(p *oracle.Problem, _ *rand.Rand) bool {
		p.Value.Value = slices.Clone(p.Value.Value)
		p.Value.Value[300*96+5] += 10 // position 44 of the second element, which one early row sees
		clear(p.Value.Value[400*96:][:96])
		return true
	}}
	r, err := c.Draw(t.Context(), late, 1)
	require.NoError(t, err)
	require.True(t, r.Early)
	plant := late.Plant
	late.Plant = func(p *oracle.Problem, r *rand.Rand) bool {
		right := p.Value.Value
		plant(p, r)
		p.Value.Value[300*96+5] = right[300*96+5]
		return true
	}
	r, err = c.Draw(t.Context(), late, 1)
	require.NoError(t, err)
	require.False(t, r.Early)
	require.True(t, r.visible())
	require.Len(t, r.Outputs[0], 96*len(c.sample.Rows))
}

// Only rows that need no later token are early.
func TestCasesWithoutEarlyRows(t *testing.T) {
	for name, change := range map[string]func(p *oracle.Problem){
		"every query sees every key": func(p *oracle.Problem) { p.Causal = nil },
		"a query sees a later key":   func(p *oracle.Problem) { p.Causal = func(q, k int) bool { return k <= q+1 } },
		"a mask of the scores":       func(p *oracle.Problem) { p.Block = attention.NewMask(256, 256) },
		"an appended key":            func(p *oracle.Problem) { p.Layer.ZeroKey = true },
		"a hook":                     func(p *oracle.Problem) { p.ZeroKeys = 1 },
		"few rows that see keys":     func(p *oracle.Problem) { fill(p.Padding.Data[:296]) },
	} {
		p := oracletest.Long()
		change(p)
		c := caseOf(p)
		require.True(t, c.sample.Partial(), name)
		require.True(t, c.early == nil, name)
	}
	require.Nil(t, caseOf(oracletest.Padded()).early, "a small case")
	require.Nil(t, caseOf(oracletest.Wide()).early, "a function projects nothing")
}

func fill(values []bool) {
	for i := range values {
		values[i] = true
	}
}

// A mistake on early rows and one on the sample are compared on the sample.
func TestVisibilityOfMistakesOnEarlyRows(t *testing.T) {
	v := caseOf(oracletest.Long()).Visibility()
	var alike [][]string
	for _, group := range v.Alike {
		alike = append(alike, catalogue.IDs(group))
	}
	require.Greater(t, len(v.Seen), 80)
	require.Contains(t, alike, []string{"weights-transposed", "weights-column-major"})
}

// A computation that is cut off has no values, on early rows and on the sample.
func TestEarlyRowsAreCutOff(t *testing.T) {
	c := caseOf(oracletest.Long())
	for id, early := range map[string]bool{"key-value-swapped": true, "causal-missing": false} {
		m, _ := catalogue.ByID(id)
		values, _, isEarly, err := c.make(ended(t), planted(t, c.Problem, id), m)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, early, isEarly)
		require.Nil(t, values)
		values, _, isEarly, err = c.make(t.Context(), planted(t, c.Problem, id), m)
		require.NoError(t, err)
		require.Equal(t, early, isEarly)
		require.NotEmpty(t, values)
	}
}

// Early rows are worth their work beside many keys, and need queries of their own.
func TestSizesWithEarlyRows(t *testing.T) {
	long := oracletest.Long()
	truth := long.Run().Expected()
	sample := Sample{Rows: []int{300}}
	// shortened keeps the first tokens of both batch elements.
	shortened := func(queries, keys int) *oracle.Problem {
		p := oracletest.Long()
		for a, n := range map[*oracle.Array]int{&p.Query: queries, &p.Key: keys, &p.Value: keys} {
			values := slices.Concat(a.Value[:n*96], a.Value[256*96:][:n*96])
			*a = oracle.Array{Shape: []int{2, n, 96}, Value: values}
		}
		p.Padding = attention.NewMask(2, keys)
		return p
	}
	require.NotNil(t, newEarly(long, truth, sample))
	require.Nil(t, newEarly(long, truth, Sample{}), "nothing is sampled")
	for _, tc := range []struct {
		queries, keys int
		early         bool
	}{
		{256, 192, true}, {256, 191, false}, {48, 256, true}, {47, 256, false}, {256, 256, true},
	} {
		p := shortened(tc.queries, tc.keys)
		e := newEarly(p, p.Run().Expected(), Sample{Rows: []int{tc.queries + 3}})
		require.Equal(t, tc.early, e != nil, tc)
		if tc.early {
			require.Equal(t, 1, e.element)
			require.Len(t, e.rows, 12)
			require.Equal(t, tc.queries+e.rows[5], e.sample.Rows[5])
		}
	}
	function := oracletest.Wide()
	require.Nil(t, newEarly(function, function.Run().Expected(), Sample{Rows: []int{0}}))

	// A mistake that changes the number of keys is made on the sample.
	c := caseOf(long)
	m := catalogue.Mistake{Kind: catalogue.Altered}
	wrong := c.Problem.Uncached()
	require.NotNil(t, c.early.of(wrong, m, c.Problem))
	require.Nil(t, c.early.of(wrong, catalogue.Mistake{Kind: catalogue.Missing}, c.Problem), "a missing part")
	for _, a := range []*oracle.Array{&wrong.Key, &wrong.Value} {
		*a = oracle.Array{Shape: []int{2, 255, 96}, Value: a.Value[:2*255*96]}
	}
	wrong.Padding = attention.NewMask(2, 255)
	require.NotNil(t, wrong.Prefix(c.early.element, c.early.tokens))
	require.Nil(t, c.early.of(wrong, m, c.Problem))
	wrong = c.Problem.Uncached()
	wrong.Causal = nil
	require.Nil(t, c.early.of(wrong, m, c.Problem), "its rows see later keys")
	var none *early
	require.Nil(t, none.of(c.Problem, m, c.Problem))
}
