package replay

import (
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
