package trace

import (
	"math"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/replay"
)

// padded returns a model in which some rows do not matter.
func padded(t *testing.T, name string) model {
	t.Helper()
	c, err := fixture.Read(os.DirFS("../../../fixtures"), "models/"+name)
	require.NoError(t, err)
	g, err := graph.Parse(c.Graph)
	require.NoError(t, err)
	truth := compare.Expected{Shape: c.Output.Shape, Value: c.Truth, Sigma: c.Sigma, Measured: true}
	m, err := replay.NewModule(g, c.Given, truth.WithPadding(c.PaddedRows(c.Output.Shape)))
	require.NoError(t, err)
	return model{c, g, m.WithPadding(c.PaddedRowsInside)}
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
	m := padded(t, "bert")
	values := m.traced(t, m.graph)
	require.Greater(t, m.leave(values), 20)
	trace := m.judge(t, values)
	require.Equal(t, -1, trace.First, "%v", trace.Lines[max(0, trace.First)])
	require.Greater(t, trace.Lines[0].Comparison.Padded, 0)
}

func TestAMistakeInsideAModelBesidePaddedRows(t *testing.T) {
	m := padded(t, "bert")
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

// A right program may read other tokens where tokens are padded. Values inside the model then
// differ in rows of padded tokens, also where all tokens are in one dimension, as before experts.
func TestOtherTokensUnderThePadding(t *testing.T) {
	names := []string{"t5", "moe-softmax"}
	if campaign.Full() {
		names = names[:0]
		folders, err := os.ReadDir("../../../fixtures/models")
		require.NoError(t, err)
		for _, f := range folders {
			if _, err := os.Stat("../../../fixtures/models/" + f.Name() + "/padded"); err == nil {
				names = append(names, f.Name())
			}
		}
	}
	for _, name := range names {
		m := padded(t, name)
		require.NotEmpty(t, m.c.Padded, name)
		given, err := graph.Given[float32](m.graph, m.c.Given)
		require.NoError(t, err)
		require.Positive(t, m.readOthers(given), name)
		trace := m.judge(t, m.tracedFrom(t, m.graph, given))
		if trace.First >= 0 {
			t.Errorf("%s: %s %v", name, trace.Lines[trace.First].Path, trace.Lines[trace.First].Comparison.WantShape)
		}
	}
}

// readOthers puts the last token of all in place of each padded token. It returns their number.
func (m model) readOthers(given graph.Values[float32]) int {
	changed := 0
	for name, role := range m.graph.Inputs {
		ids := given[name]
		rows := m.c.PaddedRows(ids.Shape)
		if role != "input_ids" || len(rows) != len(ids.Data) {
			continue
		}
		ids.Data = slices.Clone(ids.Data)
		for i, padded := range rows {
			if padded {
				ids.Data[i] = ids.Data[len(ids.Data)-1]
				changed++
			}
		}
	}
	return changed
}
