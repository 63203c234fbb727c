package judge

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// leftover lists values that programs leave in the rows of padded tokens.
var leftover = map[string]float64{"zeros": 0, "NaN": math.NaN(), "a large number": 1e30, "infinity": math.Inf(-1)}

// withPadding returns an output with one value in all padded rows.
func withPadding(t *testing.T, c *fixture.Case, output []float64, value float64) []float64 {
	t.Helper()
	rows := c.PaddedRows(c.Output.Shape)
	require.Contains(t, rows, true)
	left := slices.Clone(output)
	for i := range left {
		if rows[i*len(rows)/len(left)] {
			left[i] = value
		}
	}
	return left
}

func padded(t *testing.T, name string) (*fixture.Case, *Referee) {
	t.Helper()
	c, err := fixture.Read(fixtures.FS, name)
	require.NoError(t, err)
	referee, err := New(t.Context(), c, oracle.Precision{})
	require.NoError(t, err)
	return c, referee
}

func TestPaddedRowsAreNotJudged(t *testing.T) {
	for name, row := range map[string]string{"models/bert": "x......---", "models/llama": "---x......"} {
		c, referee := padded(t, name)
		right := c.Output.Float64s()
		for left, value := range leftover {
			r := judgeModel(t, referee, c, withPadding(t, c, right, value))
			require.Equal(t, report.Pass, r.Verdict, "%s: %s", name, left)
			require.Equal(t, 4, r.Comparison.Padded)
		}
		wrong, first := slices.Clone(right), strings.Index(row, "x")
		wrong[first*c.Output.Shape[2]] += 1
		ended, cancel := context.WithCancel(t.Context())
		cancel() // no cause is looked for
		r, err := referee.Judge(ended, c.Output.Shape, withPadding(t, c, wrong, math.NaN()))
		require.NoError(t, err)
		require.Equal(t, report.Fail, r.Verdict)
		require.Equal(t, 1, r.Comparison.Outside)
		require.Equal(t, []int{first}, r.Diagnosis.Structure.WrongRows)
		require.Equal(t, row, r.Diagnosis.Structure.Row(0), "a padded row is drawn")
	}
}

// Mistakes in other rows are named whatever stands in the padded rows.
func TestMistakesBesidePaddedRows(t *testing.T) {
	c, referee := padded(t, "models/bert")
	g, view, right := viewOf(t, c)
	for _, id := range []string{"gelu-tanh", "norm-mean-kept", "residual-missing", "layers-reversed"} {
		m := edits.Mistakes[slices.IndexFunc(edits.Mistakes, func(m catalogue.Mistake) bool { return m.ID == id })]
		values, err := graph.Rerun(g, view.Apply(m.Edit, view.Sites(m.Edit)), right)
		require.NoError(t, err)
		for left, value := range leftover {
			r := judgeModel(t, referee, c, withPadding(t, c, toFloat32(values[g.Output].Data), value))
			require.True(t, names(namesOf(r), id), "%s with %s: %v", id, left, r.Diagnosis.Reasons)
		}
	}
}

// An order of axes is found with anything in the padded rows.
func TestAnOrderOfAxesBesidePaddedRows(t *testing.T) {
	c, referee := padded(t, "models/bert")
	left := withPadding(t, c, c.Output.Float64s(), 77)
	const batch, tokens, width = 3, 10, 7
	turned := make([]float64, len(left))
	for b := range batch {
		for i := range tokens {
			copy(turned[(i*batch+b)*width:][:width], left[(b*tokens+i)*width:][:width])
		}
	}
	r, err := referee.Judge(t.Context(), []int{tokens, batch, width}, turned)
	require.NoError(t, err)
	require.Len(t, r.Diagnosis.Orders, 1, "%v", r.Diagnosis.Reasons)
}

// Two mistakes, and a bias with other values, are found beside padded rows.
func TestMoreThanOneMistakeBesidePaddedRows(t *testing.T) {
	c, _ := plantedIn(t, "bert")
	rows := attention.Mask{Shape: c.Output.Shape[:2]}
	rows.Data = make([]bool, num.Size(rows.Shape))
	rows.Data[2], rows.Data[5] = true, true
	c.Padded = []fixture.Padding{{Mask: "padding", Rows: rows}}
	referee, err := New(t.Context(), c, oracle.Precision{})
	require.NoError(t, err)

	two := storedOutputs(t, plantedModels+"/bert-pairs.npy", 8)[0]
	d := judgeModel(t, referee, c, withPadding(t, c, two, math.NaN())).Diagnosis
	require.True(t, slices.ContainsFunc(d.Matches, func(m replay.Match) bool { return len(m.Mistakes) == 2 }), "%v", d.Reasons)

	values := storedOutputs(t, plantedModels+"/bert-parameters.npy", 7)[5]
	d = judgeModel(t, referee, c, withPadding(t, c, values, math.NaN())).Diagnosis
	require.Len(t, d.Fits, 1, "%v", d.Reasons)
	require.Equal(t, []string{"layers.1.up.bias"}, d.Fits[0].Parameters)
}
