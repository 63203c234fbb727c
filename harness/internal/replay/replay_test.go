package replay

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// caseOf returns the case of a problem, with the oracle's result for a truth.
func caseOf(p *oracle.Problem) *Case { return NewCase(p, p.Run().Expected()) }

// sampled returns a case that makes mistakes first in some rows, as if it were large.
func sampled(c *Case, rows ...int) *Case {
	c = NewCase(c.Problem, c.Truth)
	c.sample = Sample{Rows: rows, Truth: expectedRows(c.Truth, rows)}
	return c
}

// against puts an output beside the mistakes of a case.
func against(t *testing.T, c *Case, got []float64) Output {
	t.Helper()
	o, cut := NewOutput(t.Context(), c, got, compare.Outputs(c.Truth.Shape, got, c.Truth))
	require.Empty(t, cut)
	return o
}

// planted returns a problem with mistakes.
func planted(t *testing.T, p *oracle.Problem, ids ...string) *oracle.Problem {
	t.Helper()
	var mistakes []catalogue.Mistake
	for _, id := range ids {
		m, ok := catalogue.ByID(id)
		require.True(t, ok, id)
		mistakes = append(mistakes, m)
	}
	wrong, ok := catalogue.Make(p, nil, mistakes...)
	require.True(t, ok, ids)
	return wrong
}

func idsOf(matches []Match) []string {
	var ids []string
	for _, m := range matches {
		ids = append(ids, m.ID())
	}
	return ids
}

// ended returns a context that has ended.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestBand(t *testing.T) {
	r := Replay{Comparisons: []compare.Comparison{
		{Rel: 2, Gain: 1, Cosine: 0.5}, {Rel: 1, Gain: 3, Cosine: -0.5}, {Rel: 1.5, Gain: 2, Cosine: 0},
	}}
	require.Equal(t, Band{Rel: Range{1, 2}, Gain: Range{1, 3}, Cosine: Range{-0.5, 0.5}}, r.Band())
}
