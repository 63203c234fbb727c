package replay

import (
	"context"
	"io/fs"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/progress"
)

// moduleIn returns the module of an embedded case.
func moduleIn(t *testing.T, name string) *Module {
	t.Helper()
	return moduleOf(t, fixtures.FS, name)
}

// moduleOf returns the module of a case in a suite.
func moduleOf(t *testing.T, suite fs.FS, name string) *Module {
	t.Helper()
	c, err := fixture.Read(suite, name)
	require.NoError(t, err)
	g, err := graph.Parse(c.Graph)
	require.NoError(t, err)
	truth := compare.Expected{Shape: c.Output.Shape, Value: c.Truth, Sigma: c.Sigma, Measured: true}
	m, err := NewModule(g, c.Given, truth)
	require.NoError(t, err)
	return m
}

// A search that replays in float32 first finds the same mistakes, with the same residuals, and the
// same distance of the next ones.
func TestRoughReplaysChangeNoResult(t *testing.T) {
	campaign.SkipShort(t)
	exact, rough := moduleIn(t, "models/bert"), moduleIn(t, "models/bert")
	rough.large = 0
	tried, ruledOut := 0, 0
	for n, mistake := range edits.Mistakes {
		made := exact.at(mistake, everywhere)
		if len(made) == 0 || n%9 != 0 {
			continue
		}
		output := exact.outputOf(made[0])
		if output == nil {
			continue
		}
		tried++
		got := make([]float64, len(output.Data))
		for i, x := range output.Data {
			got[i] = float64(float32(x))
		}
		want, _ := exact.made(t.Context(), everywhere, "", map[string]hypothesis{}, got)
		all, _ := rough.made(t.Context(), everywhere, "", map[string]hypothesis{}, got)
		require.Len(t, all, len(want), mistake.ID)
		for _, h := range all {
			if h.rough {
				ruledOut++
			}
		}
		a, b := newSearch(), newSearch()
		exact.confirm(a, exact.withoutDoubles(want), got)
		rough.confirm(b, rough.withoutDoubles(all), got)
		require.Len(t, b.found, len(a.found), mistake.ID)
		for i, match := range a.found {
			assert.Equal(t, match.ID(), b.found[i].ID())
			assert.Equal(t, match.Residual, b.found[i].Residual, mistake.ID)
		}
		if len(a.found) > 0 {
			assert.Equal(t, a.next, b.next, mistake.ID)
		}
	}
	assert.Greater(t, tried, 5)
	assert.Greater(t, ruledOut, 50*tried)
}

// A rough hypothesis is replayed exactly if it comes much nearer than the right graph, or if noise
// may explain it. A rough distance may be twice the exact one.
func TestHopelessHypotheses(t *testing.T) {
	const right = 0.05
	for _, tc := range []struct {
		rms, residual float64
		hopeless      bool
	}{
		{61, 0.0201, true},
		{61, 0.0199, false},
		{61, 0.05, true},
		{59, 0.05, false},
		{60, 0.05, false},
		{61, 0.02, false},
	} {
		assert.Equal(t, tc.hopeless, hypothesis{rms: tc.rms, residual: tc.residual}.hopeless(right), tc)
	}
}

// A replay in float32 is near at three times the residual of an explanation.
func TestEstimateAtTheLimit(t *testing.T) {
	const far = 3 * compare.MaxResidual
	fourth := times("fourth", 0.25)
	m := tiny(t, fourth)
	m.large = 0
	estimate := func(got []float64) hypothesis {
		h := m.at(fourth, everywhere)[0]
		require.True(t, m.estimate(&h, m.roughly(), got))
		return h
	}
	got := mistaken(t, m, fourth)
	for i := range got {
		got[i] *= 1 + far
	}
	limit := estimate(atLimit(t, got, far, func(got []float64) float64 { return estimate(got).residual }))
	require.InDelta(t, far, limit.residual, 0)
	require.True(t, limit.near)
}

// A replay in float32 has a distance where it gives numbers, and differs from the right output. It
// is near up to three times the residual of an explanation.
func TestEstimates(t *testing.T) {
	fourth, nothing := times("fourth", 0.25), times("nothing", 0.5)
	m := tiny(t, fourth, nothing, broken("broken", "bend"), becomes("log", "sum", "log"))
	m.large = 0
	r := m.roughly()
	require.NotNil(t, r)
	at := func(mistake catalogue.Mistake) *hypothesis { return &m.at(mistake, everywhere)[0] }
	output := m.outputOf(*at(fourth)).Data
	for factor, near := range map[float64]bool{1.001: true, 1.14: true, 1.16: false, 2: false} {
		got := slices.Clone(output)
		for i := range got {
			got[i] *= factor
		}
		h := at(fourth)
		require.True(t, m.estimate(h, r, got))
		require.True(t, h.rough)
		require.Equal(t, near, h.near, factor)
		require.InEpsilon(t, factor-1, h.residual, 1e-3)
		require.InEpsilon(t, inNoise(got, output, m.Truth.Sigma), h.rms, 1e-2)
		first := m.first(*at(fourth), got)
		require.Equal(t, []any{true, h.residual, h.rms}, []any{first.rough, first.residual, first.rms})
	}
	got := unexplained(m)
	require.False(t, m.estimate(at(nothing), r, got))
	require.False(t, m.estimate(&hypothesis{mistake: broken("", "bend"), sites: []int{2}}, r, got))
	logs := at(becomes("log", "sum", "log"))
	require.False(t, m.estimate(logs, r, got), "NaN where the output has numbers")
	require.False(t, logs.rough || logs.near)
	require.True(t, m.first(*at(nothing), got).discarded)
	exact := *m
	exact.Truth.Sigma = make([]float64, 12)
	require.False(t, exact.estimate(at(fourth), r, got), "without noise there is no distance in it")

	padded := m.WithPadding(func([]int) []bool { return []bool{true, false, false, false} })
	h := at(fourth)
	require.True(t, padded.estimate(h, r, padded.outputOf(*h).Data))
	require.Less(t, h.residual, 1e-6)

	m = tiny(t, fourth)
	require.Nil(t, m.roughly(), "a small graph")
	require.False(t, m.first(*at(fourth), got).rough)
	m.kept, m.large = newKept(), m.work()
	require.Nil(t, m.roughly(), "hardly a large one")
	m.kept, m.large = newKept(), m.work()-1
	require.NotNil(t, m.roughly())
	m.kept, m.given = newKept(), nil
	require.Nil(t, m.roughly(), "float32 gives no output")
	require.InDelta(t, 1e8, tiny(t).large, 0)
}

// Of an output with many features a part is replayed, and held against the same part.
func TestEstimateOfAPart(t *testing.T) {
	const many = 4096
	shape := []int{2, many}
	m := graphModule(t, &graph.Graph{
		Inputs: map[string]string{"x": "x"}, Parameters: []string{"weight"}, Output: "logits",
		Nodes: []graph.Node{
			{Name: "half", Op: "mul", Operands: []graph.Operand{graph.Value("x"), graph.Number(0.5)}, Shape: []int{2, 3}},
			{
				Name: "logits", Op: "linear", Attributes: graph.Attributes{Weight: "out, in"}, Shape: shape,
				Operands: []graph.Operand{graph.Value("half"), graph.Value("weight"), graph.None},
			},
		},
	}, map[string]*npy.Array{"inputs.x": drawn(t, 1, 2, 3), "state_dict.weight": drawn(t, 2, many, 3)})
	m.large = 0
	r := m.roughly()
	h := hypothesis{mistake: times("fourth", 0.25), sites: []int{0}}
	_, _, features, err := r.Output(m.edited(h))
	require.NoError(t, err)
	require.Len(t, features, many/8)
	output := m.outputOf(h).Data
	got := slices.Clone(output)
	for i := range got {
		got[i] *= 1 + 0.5*float64(i%2)
	}
	require.True(t, m.estimate(&h, r, got))
	part, wrong := m.part(got, features), m.part(output, features)
	require.Len(t, part, 2*many/8)
	require.InEpsilon(t, compare.Residual(part, wrong), h.residual, 1e-4)
	require.InEpsilon(t, inNoise(part, wrong, m.part(m.Truth.Sigma, features)), h.rms, 1e-4)

	few := &Module{Truth: compare.Expected{Shape: []int{2, 1, 3}}}
	require.Equal(t, []float64{0, 2, 3, 5}, few.part([]float64{0, 1, 2, 3, 4, 5}, []int{0, 2}))
}

// nearTo returns a hypothesis of a mistake that a rough replay put at a distance.
func nearTo(m *Module, mistake catalogue.Mistake, rms, residual float64) hypothesis {
	h := m.at(mistake, everywhere)[0]
	h.rough, h.near, h.rms, h.residual = true, true, rms, residual
	return h
}

// The nearest rough hypotheses are replayed exactly, as long as they are at most a hundred times as
// far as the nearest exact one. Hopeless ones are left out.
func TestReplaysOfTheNearest(t *testing.T) {
	fourth, third, fifth, nothing := times("a", 0.25), times("b", 0.3), times("c", 0.2), times("d", 0.5)
	m := tiny(t, fourth, third, fifth, nothing)
	got := mistaken(t, m, fourth)
	right := compare.Residual(got, m.Truth.Value)
	exactOf := func(all ...hypothesis) (exact []bool) {
		require.Zero(t, m.exactly(t.Context(), all, got, "mistakes"))
		for _, h := range all {
			exact = append(exact, !h.rough)
		}
		return exact
	}
	far := hypothesis{rms: 5}
	require.Equal(t, []bool{true, true, false},
		exactOf(far, nearTo(m, third, 499, 0.01), nearTo(m, fifth, 502, 0.01)))
	require.Equal(t, []bool{true, true}, exactOf(far, nearTo(m, third, 500, 0.01)))
	far = hypothesis{rms: 61, residual: right} // an exact one is not hopeless
	require.Equal(t, []bool{true, false}, exactOf(far, nearTo(m, third, 6101, 0.001)))
	require.Equal(t, []bool{true, true}, exactOf(far, nearTo(m, third, 6099, 0.001)))
	far = hypothesis{rms: 5}
	gone, rough := hypothesis{rms: 1, discarded: true}, hypothesis{rms: 1, rough: true}
	require.Equal(t, []bool{true, false, true, true}, exactOf(gone, rough, nearTo(m, third, 499, 0.01), nearTo(m, fifth, 502, 0.01)),
		"without an exact one")
	// The second one is over 100 times as far as the first, whose distance is noise.
	h := m.compute(m.at(fourth, everywhere)[0], got)
	require.Less(t, h.rms, 1.)
	require.Equal(t, []bool{false, true}, exactOf(nearTo(m, third, 101, 0.01), nearTo(m, fourth, 99, 0.01)))
	got = float32s(m.Truth.Value)
	require.Equal(t, []bool{true, true}, exactOf(nearTo(m, nothing, 50, 0.01), nearTo(m, third, 59, 0.01)), "no mistake at all")
	got = mistaken(t, m, fourth)
	require.Equal(t, []bool{false, true, false}, exactOf(
		nearTo(m, third, 61, right), nearTo(m, fifth, 59, right), hypothesis{rms: 3, rough: true}), "hopeless")

	all := []hypothesis{far, nearTo(m, third, 9, 0.01), nearTo(m, fifth, 8, 0.01), nearTo(m, fourth, 7, 0.01)}
	require.Equal(t, 3, m.exactly(ended(t), slices.Clone(all), got, "mistakes"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	require.Equal(t, 1, m.exactly(progress.With(ctx, func(u progress.Update) {
		require.Equal(t, progress.Update{Stage: "nearest mistakes", Done: u.Done, Total: 3}, u)
		if u.Done == 1 {
			cancel()
		}
	}), all, got, "mistakes"))
	require.Equal(t, []bool{false, true, false, false}, []bool{all[0].rough, all[1].rough, all[2].rough, all[3].rough})
}

// Beside a match, rough hypotheses that may be among the nearest are measured exactly.
func TestMissesOfRoughHypotheses(t *testing.T) {
	fourth, third := times("a", 0.25), times("b", 0.3)
	m := tiny(t, fourth, third)
	got := mistaken(t, m, fourth)
	exact := compare.Residual(got, m.outputOf(m.at(third, everywhere)[0]).Data)
	require.Less(t, exact, 0.16)
	match := m.compute(m.at(fourth, everywhere)[0], got)
	for _, tc := range []struct {
		h    hypothesis
		next float64
	}{
		{nearTo(m, third, 9, 0.3), exact},
		{nearTo(m, third, 9, 0.32), 0.16},
		{nearTo(m, third, 9, 0.33), 0.16},
		{match, 0.16},
		{hypothesis{mistake: broken("", "bend"), sites: []int{2}, rough: true, residual: 0.1}, 0.16},
	} {
		s := newSearch()
		s.miss(0.16)
		m.missRough(s, []hypothesis{match, tc.h}, got)
		require.InDelta(t, tc.next, s.next, 1e-12)
	}
}
