package trace

import (
	"math"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/replay"
)

// padded returns a model in which some rows do not matter.
func padded(t *testing.T) model {
	t.Helper()
	c, err := fixture.Read(os.DirFS("../../../fixtures"), "models/bert")
	require.NoError(t, err)
	g, err := graph.Parse(c.Graph)
	require.NoError(t, err)
	truth := compare.Expected{Shape: c.Output.Shape, Value: c.Truth, Sigma: c.Sigma, Measured: true}
	m, err := replay.NewModule(g, c.Given, truth.WithPadding(c.PaddedRows(c.Output.Shape)))
	require.NoError(t, err)
	return model{c, g, m.WithPadding(c.PaddedRows)}
}

// leave puts NaN into the padded rows of all values, and returns how many values have such rows.
func (m model) leave(values map[string]*Array) int {
	n := 0
	for _, v := range values {
		rows := m.c.PaddedRows(v.Shape)
		for i := range v.Data {
			if rows != nil && rows[i*len(rows)/len(v.Data)] {
				v.Data[i] = math.NaN()
			}
		}
		if rows != nil {
			n++
		}
	}
	return n
}

func TestPaddedRowsInsideAModelDoNotMatter(t *testing.T) {
	m := padded(t)
	values := m.traced(t, m.graph)
	require.Greater(t, m.leave(values), 20)
	trace := m.judge(t, values)
	require.Equal(t, -1, trace.First, "%v", trace.Lines[max(0, trace.First)])
	require.Greater(t, trace.Lines[0].Comparison.Padded, 0)
}

func TestAMistakeInsideAModelBesidePaddedRows(t *testing.T) {
	m := padded(t)
	given, err := graph.Given[float64](m.graph, m.c.Given)
	require.NoError(t, err)
	right, err := graph.Run(m.graph, given)
	require.NoError(t, err)
	view := graph.NewView(m.graph, right)
	wrong := edits.Mistakes[slices.IndexFunc(edits.Mistakes, func(m catalogue.Mistake) bool { return m.ID == "gelu-tanh" })]
	sites := view.Sites(wrong.Edit)
	require.NotEmpty(t, sites)
	values := m.traced(t, view.Apply(wrong.Edit, sites[1:2]))
	m.leave(values)
	trace := m.judge(t, values)
	require.GreaterOrEqual(t, trace.First, 0)
	require.Contains(t, trace.Lines[trace.First].Path, "encoder.layer.1.intermediate")
	require.NotEmpty(t, trace.Matches)
	require.Equal(t, "gelu-tanh", trace.Matches[0].ID())
}
