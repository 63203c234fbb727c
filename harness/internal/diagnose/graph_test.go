package diagnose

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/replay"
)

// head is the head of a language model: an RMSNorm, a factor, a linear layer and a softcap.
type head struct {
	inputs, norm, weight, bias []float64
	eps, factor, softcap       float64
}

// headOf returns the head of the suite. A softcap of 0 is none.
func headOf(t *testing.T) head {
	t.Helper()
	c, err := fixture.Read(fixtures.FS, "blocks/head")
	require.NoError(t, err)
	of := func(role string) []float64 {
		values, err := c.Given[role].Numbers()
		require.NoError(t, err)
		return values
	}
	return head{
		inputs: of("inputs.hidden_states"), norm: of("state_dict.norm.weight"), weight: of("state_dict.lm_head.weight"),
		bias: of("state_dict.lm_head.bias"), eps: 1e-5, factor: 1 / math.Sqrt(24), softcap: 0.5,
	}
}

// output returns the output in float32.
func (h head) output() []float64 {
	var out []float64
	width := len(h.norm)
	for first := 0; first < len(h.inputs); first += width {
		row := h.inputs[first:][:width]
		size := math.Sqrt(num.Dot(row, row)/float64(width) + h.eps)
		for o, y := range h.bias {
			for i, x := range row {
				y += x / size * h.norm[i] * h.factor * h.weight[o*width+i]
			}
			if h.softcap > 0 {
				y = h.softcap * math.Tanh(y/h.softcap)
			}
			out = append(out, float64(float32(y)))
		}
	}
	return out
}

// inHead diagnoses an output of the suite's head.
func inHead(t *testing.T, got []float64) Diagnosis {
	t.Helper()
	m := inModule(t, "blocks/head")
	return DiagnoseModule(t.Context(), m.Truth, nil, m, got, compare.Outputs(m.Truth.Shape, got, m.Truth))
}

// Two mistakes in a graph are named together. With one mistake more they are not, and the report
// says how many pairs were tried.
func TestTwoMistakesInAGraph(t *testing.T) {
	require.Equal(t, Right, inHead(t, headOf(t).output()).Class)
	h := headOf(t)
	h.softcap, h.bias = 0, make([]float64, len(h.bias))
	d := inHead(t, h.output())
	require.Contains(t, d.Reasons[0], "the logits without their softcap, and the bias of the head left out")
	for _, m := range d.Matches { // a head has no other biases
		require.Contains(t, m.IDs(), "logits-softcap-missing")
	}
	require.False(t, d.Unexplained)
	for i := range h.weight {
		h.weight[i] *= 1 + 0.5*math.Sin(float64(i*i))
	}
	d = inHead(t, h.output())
	require.True(t, d.Unexplained)
	require.Regexp(t, `two mistakes at once: \d+ of \d+ pairs were tried`, told(&finding{reasons: d.Reasons}))
}

// Other values of a parameter are told with the fit that shows them.
func TestOtherValuesInAGraph(t *testing.T) {
	h := headOf(t)
	for i := range h.norm {
		h.norm[i] *= 1 + 0.5*math.Sin(float64(i*i))
	}
	d := inHead(t, h.output())
	require.Equal(t, WrongWeights, d.Class, d.Reasons)
	require.Equal(t, "the output is as with other values of norm.weight", d.Reasons[0])
	require.Len(t, d.Fits, 1)
	require.Equal(t, "24 unknown elements, 15 wrong rows", d.Fits[0].Detail)
}

// Searches in a graph are cut off when the context ends, and decide nothing then.
func TestSearchesInAGraphAreCutOff(t *testing.T) {
	h := headOf(t)
	h.softcap = 0
	m, got := inModule(t, "blocks/head"), h.output()
	in := &input{module: m, whole: m.Truth, output: got}
	ended, end := context.WithCancel(t.Context())
	end()
	for _, a := range []answer{
		mistakeInGraph(ended, in, fits()), pairsInGraph(ended, in, fits()), valuesInGraph(ended, in, fits()),
	} {
		require.NotEmpty(t, a.cut)
		require.Nil(t, a.finding)
	}
	require.NotEmpty(t, mistakeInGraph(t.Context(), in, fits()).distances)
}

// What a report says of pairs of mistakes in a graph: how many were tried if they are not all, and
// that a module was too large for any.
func TestReasonsOfPairs(t *testing.T) {
	match := replay.Match{Mistakes: []catalogue.Mistake{{ID: "a", Title: "no gate"}, {ID: "b", Title: "no norm"}}}
	for tried, says := range map[int]bool{1: true, 6: true, 7: false} {
		f := explainedByPairs(replay.Pairs{Matches: []replay.Match{match}, Tried: tried, Of: 7})
		require.Contains(t, f.reasons[0], "computed with no gate, and no norm")
		require.Equal(t, says, slices.Contains(f.reasons[1:],
			"of 7 pairs of mistakes, the "+map[int]string{1: "1", 6: "6", 7: "7"}[tried]+" that may come nearest were tried"))
	}
	require.Nil(t, explainedByPairs(replay.Pairs{Tried: 3, Of: 7}))
	require.Equal(t, "two mistakes at once: 1 of 7 pairs were tried", triedPairs(replay.Pairs{Tried: 1, Of: 7}))
	require.Equal(t, "two mistakes at once were not tried on this module", triedPairs(replay.Pairs{}))
}

// What a report says of other values: how they were proved, and whether the case can tell several
// parameters apart.
func TestReasonsOfValues(t *testing.T) {
	weight := replay.ValueMatch{
		Keys: []string{"head.weight"}, Changed: "3 of its 64 columns", Unknowns: 30, Rows: 5, Equations: 90,
		Residual: 0.00123, MaxZ: 2.5,
	}
	f, fits := explainedByValues([]replay.ValueMatch{weight})
	require.Equal(t, WrongWeights, f.class)
	require.Equal(t, []string{
		"the output is as with other values of head.weight (3 of its 64 columns)",
		"least squares leaves 0.0012 (max z 2.5) in 90 equations with 30 unknown elements",
	}, f.reasons)
	require.Equal(t, []fit.Fit{{
		Freed: "head.weight (3 of its 64 columns)", Parameters: []string{"head.weight"}, Holds: true, Narrowest: true,
		Residual: 0.00123, MaxZ: 2.5, Detail: "30 unknown elements, 5 wrong rows",
	}}, fits.Fits)

	norm := replay.ValueMatch{Keys: []string{"norm.weight"}, Rows: 5}
	f, fits = explainedByValues([]replay.ValueMatch{norm, weight})
	require.Len(t, fits.Fits, 2)
	require.Equal(t, []string{
		"the output is as with other values of norm.weight, or of head.weight (3 of its 64 columns)",
		"least squares leaves 0 (max z 0); each half of the 5 wrong rows follows from the other half",
		"this case cannot tell these apart",
	}, f.reasons)
	f, fits = explainedByValues(nil)
	require.Nil(t, f)
	require.Nil(t, fits)
}
