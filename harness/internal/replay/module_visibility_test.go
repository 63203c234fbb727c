package replay

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
)

// unmeasured gives what times 0.25 gives, but has no noise that could be measured.
var unmeasured = atNode("unmeasured", "half", func(n graph.Node) []graph.Node {
	n = n.Become("site", graph.Value("x"))
	n.Computed = func(in []*graph.Tensor[float64], r graph.Rounding) (*graph.Tensor[float64], []float64, error) {
		if r == graph.WithRounding {
			return nil, nil, errors.New("no noise")
		}
		fourth := &graph.Tensor[float64]{Shape: n.Shape, Data: make([]float64, len(in[0].Data))}
		for i, x := range in[0].Data {
			fourth.Data[i] = x / 4
		}
		return fourth, nil, nil
	}
	return []graph.Node{n}
})

// The mistakes of a module that do not apply, the ones that do not show, with the reason, and the
// ones that show. Some of these give the same.
func TestVisibilityInAGraph(t *testing.T) {
	m := tiny(t,
		atNode("nowhere", "none", nil), ofAttention(times("of-attention", 3)),
		becomes("sub", "sum", "sub"), unmeasured, broken("broken", "bend"), times("nothing", 0.5),
		times("fourth", 0.25), times("in-noise", 0.5*(1+1e-9)), times("nearly", 0.25*(1+1e-4)),
		becomes("sub-again", "sum", "sub"), times("fourth-again", 0.25), becomes("sigmoid", "bend", "sigmoid"),
		times("fourth-once-more", 0.25), atNode("nowhere-either", "none", nil))
	v := m.Visibility()
	require.Equal(t, []string{"nowhere", "nowhere-either"}, catalogue.IDs(v.Absent))
	var blind []string
	for _, b := range v.Blind {
		blind = append(blind, b.Mistake.ID+": "+b.Why)
	}
	require.Equal(t, []string{
		"broken: nothing can be computed with it here", "nothing: it changes nothing here",
		"in-noise: its change is within the noise",
	}, blind)
	require.Equal(t, []string{
		"sub", "unmeasured", "fourth", "nearly", "sub-again", "fourth-again", "sigmoid", "fourth-once-more",
	}, catalogue.IDs(v.Seen))
	var alike [][]string
	for _, group := range v.Alike {
		alike = append(alike, catalogue.IDs(group))
	}
	require.Equal(t, [][]string{{"sub", "sub-again"}, {"fourth", "fourth-again", "fourth-once-more"}}, alike)
}

// Two outputs are alike up to the residual of an explanation, however great the noise.
func TestGroupsAtTheLimit(t *testing.T) {
	fourth := times("fourth", 0.25)
	m := tiny(t, fourth)
	first := m.compute(m.at(fourth, everywhere)[0], m.Truth.Value)
	values := slices.Clone(first.output.Data)
	for i := range values {
		values[i] *= 1 + compare.MaxResidual
	}
	noisy := compare.Expected{
		Shape: m.Truth.Shape, Value: first.output.Data, Sigma: slices.Repeat([]float64{1}, 12), Measured: true,
	}
	groups := func(values []float64) int {
		other := first
		other.output = &graph.Tensor[float64]{Shape: m.Truth.Shape, Data: values}
		return len(m.grouped([]moduleGroup{{first: first, want: noisy}}, other))
	}
	limit := atLimit(t, values, compare.MaxResidual, func(values []float64) float64 {
		return compare.Residual(values, first.output.Data)
	})
	require.Equal(t, 1, groups(limit))
	for i := range values {
		values[i] *= 1.001
	}
	require.Equal(t, 2, groups(values))
}
