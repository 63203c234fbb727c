package catalogue_test

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// casesInFloat32 are of functions without an additive mask, and small.
var casesInFloat32 = []string{
	"sdpa/causal", "sdpa/unmasked", "sdpa/bool-mask-blank-rows", "sdpa/scale", "sdpa/hot", "sdpa/gqa", "sdpa/sinks", "sdpa/softcap",
	"sdpa/sinks-window-gqa", "sdpa/softcap-window", "sdpa/causal-rectangular", "sdpa/narrow-values",
}

// float32Row is what one query has to do with its keys, in float32.
type float32Row struct {
	head, query     int
	keys            []int
	hidden          []bool
	scores, weights []float32
}

// inFloat32 computes a function, whatever mistakes it has, with every number in float32.
func inFloat32(p *oracle.Problem) []float64 {
	q, k, v := p.Query, p.Key, p.Value
	dims := len(q.Shape)
	queries, keys, e, ev := q.Shape[dims-2], k.Shape[dims-2], q.Shape[dims-1], v.Shape[dims-1]
	heads := len(q.Value) / (queries * e)
	group := heads / (len(k.Value) / (keys * e))
	var rows []*float32Row
	for n := range heads {
		for i := range queries {
			r := &float32Row{head: n, query: i}
			for j := range keys {
				hidden := hiddenFrom(p, n, i, j)
				if hidden && p.MaskedScore == nil {
					continue
				}
				var dot float32
				for f := range e {
					dot += float32(float32(q.Value[(n*queries+i)*e+f]) * float32(k.Value[(n/group*keys+j)*e+f]))
				}
				r.keys, r.hidden = append(r.keys, j), append(r.hidden, hidden)
				r.scores = append(r.scores, scoreInFloat32(p, dot, hidden))
			}
			rows = append(rows, r)
		}
	}
	weighInFloat32(p, rows)
	out := make([]float64, heads*queries*ev)
	for at, r := range rows {
		for c := range ev {
			var sum float32
			for n, j := range r.keys {
				sum += float32(r.weights[n] * float32(v.Value[(r.head/group*keys+j)*ev+c]))
			}
			out[at*ev+c] = float64(sum)
		}
	}
	return out
}

func hiddenFrom(p *oracle.Problem, n, i, j int) bool {
	position, scores := i+p.Offset, []int{p.Query.Shape[len(p.Query.Shape)-2], p.Key.Shape[len(p.Key.Shape)-2]}
	if p.Causal != nil && !p.Causal(position, j) || p.Window > 0 && max(position-j, j-position) >= p.Window {
		return true
	}
	if p.Allow == nil {
		return false
	}
	whole := len(p.Allow.Data) / (scores[0] * scores[1]) // masks of these cases have all queries and keys
	return !p.Allow.Data[(n%whole*scores[0]+i)*scores[1]+j]
}

func scoreInFloat32(p *oracle.Problem, dot float32, hidden bool) float32 {
	s := float32(p.Scale) * dot
	if p.Softcap > 0 {
		s = float32(p.Softcap) * float32(math.Tanh(float64(s/float32(p.Softcap))))
	}
	if p.Score != nil {
		changed, _ := p.Score(float64(dot))
		s = float32(changed)
	}
	change := p.VisibleScore
	if hidden {
		change = p.MaskedScore
	}
	if change != nil {
		changed, _ := change(float64(s))
		s = float32(changed)
	}
	return s
}

// normalised is what scores that one softmax runs over have in common.
type normalised struct{ top, total float32 }

// weighInFloat32 gives all weights: of the softmax, or those that stand in its place.
func weighInFloat32(p *oracle.Problem, rows []*float32Row) {
	groups := map[[3]int]*normalised{}
	add := func(at [3]int, s float32) {
		if groups[at] == nil {
			groups[at] = &normalised{top: s}
		}
		g := groups[at]
		before := g.top
		g.top = max(g.top, s)
		g.total = g.total*float32(math.Exp(float64(before-g.top))) + float32(math.Exp(float64(s-g.top)))
	}
	for _, r := range rows {
		for n, s := range r.scores {
			add(groupOf(p, r, r.keys[n]), s)
		}
		if p.Axis == oracle.OverHeadsAndKeys || p.Axis == oracle.OverKeys && len(r.scores) > 0 {
			for _, s := range withoutValues(p, r.head) {
				add(groupOf(p, r, 0), s)
			}
		}
	}
	for _, r := range rows {
		for n, j := range r.keys {
			g := groups[groupOf(p, r, j)]
			r.weights = append(r.weights, float32(math.Exp(float64(r.scores[n]-g.top)))/g.total)
		}
		if p.Softmax != nil && len(r.keys) > 0 {
			r.weights = otherwise(p, r)
		}
	}
}

// groupOf numbers what a score is normalised with.
func groupOf(p *oracle.Problem, r *float32Row, key int) [3]int {
	heads := p.Query.Shape[len(p.Query.Shape)-3]
	return map[oracle.Axis][3]int{
		oracle.OverKeys:         {r.head, r.query, 0},
		oracle.OverQueries:      {r.head, key, 0},
		oracle.OverHeads:        {r.head / heads, r.query, key},
		oracle.OverHeadsAndKeys: {r.head / heads, r.query, 0},
		oracle.OverBatch:        {r.head % heads, r.query, key},
	}[p.Axis]
}

// withoutValues are the scores of a head's sink, and of keys of zeros.
func withoutValues(p *oracle.Problem, head int) []float32 {
	all := make([]float32, p.ZeroKeys)
	if p.Sinks != nil {
		all = append(all, float32(p.Sinks[head%len(p.Sinks)]))
	}
	return all
}

// otherwise rounds the scores, and the weights that a mistake makes of them.
func otherwise(p *oracle.Problem, r *float32Row) []float32 {
	row := oracle.Row{Head: r.head, Query: r.query, Keys: r.keys, Masked: r.hidden, Sink: math.Inf(-1)}
	for _, s := range r.scores {
		row.Scores = append(row.Scores, float64(s))
	}
	if p.Sinks != nil {
		row.Sink = p.Sinks[r.head%len(p.Sinks)]
	}
	weights, _ := p.Softmax(row)
	var rounded []float32
	for _, w := range weights {
		rounded = append(rounded, float32(w))
	}
	return rounded
}

// The noise that the oracle says a mistaken computation has is that of float32, not much smaller and
// not much larger: replays are held against outputs by it.
func TestNoiseOfMistakesOfScores(t *testing.T) {
	for _, name := range casesInFloat32 {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		for _, m := range ofScores() {
			p := oracle.FromCase(c)
			out := made(m, p)
			if out == nil || !finite(out.Value) {
				continue
			}
			got := compare.Outputs(out.Shape, inFloat32(p), compare.Expected{Shape: out.Shape, Value: out.Value, Sigma: out.Sigma()})
			require.True(t, got.OK(), "%s on %s: rms z %.3g, max z %.3g", m.ID, name, got.RMSZ, got.MaxZ)
			if m.ID != "weights-identity" { // values copied are exact
				require.Greater(t, got.RMSZ, 0.05, "%s on %s", m.ID, name)
			}
		}
	}
}

// finite is what a row without keys is not where it gives NaN, nor what overflows.
func finite(values []float64) bool {
	return !slices.ContainsFunc(values, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
}
