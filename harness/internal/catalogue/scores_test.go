package catalogue_test

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// The oracle's noise of a mistaken computation fits float32: it is neither much smaller nor much
// larger than the errors of a computation in float32. Replays are compared with outputs by this
// noise.
func TestNoiseOfScoreMistakes(t *testing.T) {
	for _, name := range casesInFloat32 {
		right := problemOf(t, name)
		for _, m := range mistakesOf(scoreFamilies) {
			p := right.Clone()
			out := made(m, p)
			if out == nil || !finite(out.Value) {
				continue
			}
			want := compare.Expected{Shape: out.Shape, Value: out.Value, Sigma: out.Sigma()}
			got := compare.Outputs(out.Shape, inFloat32(p), want)
			require.True(t, got.OK(), "%s on %s: rms z %.3g, max z %.3g", m.ID, name, got.RMSZ, got.MaxZ)
			if m.ID != "weights-identity" { // copied values are exact
				require.Greater(t, got.RMSZ, 0.05, "%s on %s", m.ID, name)
			}
		}
	}
}

// finite reports whether all values are finite. Rows without keys may be NaN, and weights may
// overflow.
func finite(values []float64) bool {
	return !slices.ContainsFunc(values, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
}

// casesInFloat32 are small functions without an additive mask.
var casesInFloat32 = []string{
	"sdpa/causal", "sdpa/unmasked", "sdpa/bool-mask-blank-rows", "sdpa/scale", "sdpa/hot", "sdpa/gqa",
	"sdpa/sinks", "sdpa/softcap", "sdpa/sinks-window-gqa", "sdpa/softcap-window", "sdpa/causal-rectangular",
	"sdpa/narrow-values",
}

// float32Row holds the scores and weights of one query, in float32. keys are the keys in the
// softmax.
type float32Row struct {
	head, query     int
	keys            []int
	hidden          []bool
	scores, weights []float32
}

// inFloat32 computes a function in float32, with the mistakes that were planted in it.
func inFloat32(p *oracle.Problem) []float64 {
	q, k, v := prepared(p)
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
					continue // the softmax runs over visible keys only
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

// prepared returns query, key and value with the change of a planted mistake, in float32.
func prepared(p *oracle.Problem) (q, k, v oracle.Field) {
	q, k, v = field(p.Query), field(p.Key), field(p.Value)
	if p.Prepare != nil {
		p.Prepare(&q, &k, &v)
	}
	return q, k, v
}

func field(a oracle.Array) oracle.Field { return oracle.Field{Shape: a.Shape, Value: a.Value} }

// hiddenFrom reports whether a mask hides key j from query i of head n. n counts over the whole
// batch.
func hiddenFrom(p *oracle.Problem, n, i, j int) bool {
	position := i + p.Offset
	queries, keys := p.Query.Shape[len(p.Query.Shape)-2], p.Key.Shape[len(p.Key.Shape)-2]
	if p.Causal != nil && !p.Causal(position, j) || p.Window > 0 && max(position-j, j-position) >= p.Window {
		return true
	}
	if p.Allow == nil {
		return false
	}
	// The masks of these cases do not broadcast queries or keys.
	masks := len(p.Allow.Data) / (queries * keys)
	return !p.Allow.Data[(n%masks*queries+i)*keys+j]
}

// scoreInFloat32 scales and caps a product of query and key, and applies the planted changes.
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

// softmaxSum is the state of one softmax: the largest score so far, and the sum of e^(score - top).
type softmaxSum struct{ top, total float32 }

// weighInFloat32 sets the weights of all rows: the softmax, or the planted replacement.
func weighInFloat32(p *oracle.Problem, rows []*float32Row) {
	sums := map[[3]int]*softmaxSum{}
	add := func(at [3]int, s float32) {
		if sums[at] == nil {
			sums[at] = &softmaxSum{top: s}
		}
		g := sums[at]
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
			g := sums[groupOf(p, r, j)]
			r.weights = append(r.weights, float32(math.Exp(float64(r.scores[n]-g.top)))/g.total)
		}
		if p.Softmax != nil && len(r.keys) > 0 {
			r.weights = replacedWeights(p, r)
		}
	}
}

// groupOf returns the number of the softmax that a score belongs to.
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

// withoutValues returns the scores that have no value: keys of zeros, and the sink of the head.
func withoutValues(p *oracle.Problem, head int) []float32 {
	all := make([]float32, p.ZeroKeys)
	if p.Sinks != nil {
		all = append(all, float32(p.Sinks[head%len(p.Sinks)]))
	}
	return all
}

// replacedWeights applies the planted replacement of the softmax to float32 scores. It rounds the
// weights to float32.
func replacedWeights(p *oracle.Problem, r *float32Row) []float32 {
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
