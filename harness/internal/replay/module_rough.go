package replay

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/progress"
)

// large is the number of operations above which the replays of a module are first made in float32.
const large = 1e8

// accuracy is the least part of a rough distance that the exact one is.
const accuracy = 0.5

// roughly computes the right graph in float32 at the first call. It returns nil for a small graph,
// and if float32 gives no output.
func (m *Module) roughly() *graph.Rough {
	m.kept.roughOnce.Do(func() {
		if m.work() <= m.large {
			return
		}
		if r, err := graph.NewRough(m.graph, m.given); err == nil {
			m.kept.rough = r
		}
	})
	return m.kept.rough
}

// first replays a hypothesis: in float32 if the graph is large, and exactly otherwise. It replays
// exactly what float32 says nothing about.
func (m *Module) first(h hypothesis, got []float64) hypothesis {
	if r := m.roughly(); r != nil && m.estimate(&h, r, got) {
		return h
	}
	return m.compute(h, got)
}

// estimate replays a hypothesis in float32. It reports false if this gives no distance.
//
// If the hypothesis is right, the subject's output and the rough one are about equally far from the
// exact one. So the rough one is at most about twice as far from the subject's as an explanation
// may be. A random part of the features may be somewhat further.
func (m *Module) estimate(h *hypothesis, r *graph.Rough, got []float64) bool {
	const far = 3 * compare.MaxResidual
	output, right, features, err := r.Output(m.edited(*h))
	if err != nil || slices.Equal(output.Data, right.Data) {
		return false
	}
	wide := make([]float64, len(output.Data))
	for i, x := range output.Data {
		wide[i] = float64(x)
	}
	wide = m.blank(&graph.Tensor[float64]{Shape: output.Shape, Data: wide}).Data
	sigma := m.Truth.Sigma
	if features != nil {
		got, sigma = m.part(got, features), m.part(sigma, features)
	}
	h.rms, h.residual = inNoise(got, wide, sigma), compare.Residual(got, wide)
	h.rough = h.residual+h.rms <= math.MaxFloat64 // neither is infinite or NaN
	h.near = h.rough && h.residual <= far
	return h.rough
}

// exactly replays the nearest hypotheses again, this time exactly. It leaves out hypotheses whose
// rough output is so much further from the subject's than the nearest exact one that their own
// noise cannot explain it, and hopeless ones. exactly returns how many it did not try because ctx
// ended.
func (m *Module) exactly(ctx context.Context, all []hypothesis, got []float64, words string) int {
	const further = 100 // far beyond noisier, for what a rough distance may be off
	var near []int
	least, right := math.Inf(1), compare.Residual(got, m.Truth.Value)
	for i, h := range all {
		switch {
		case h.near && h.hopeless(right):
		case h.near:
			near = append(near, i)
		case !h.discarded && !h.rough:
			least = min(least, h.rms)
		}
	}
	slices.SortStableFunc(near, func(i, j int) int { return cmp.Compare(all[i].rms, all[j].rms) })
	for n, i := range near {
		if all[i].rms > further*least {
			break
		}
		if ctx.Err() != nil {
			return len(near) - n
		}
		progress.Tell(ctx, progress.Update{Stage: "nearest " + words, Done: n, Total: len(near)})
		if all[i] = m.compute(all[i], got); !all[i].discarded {
			least = min(least, all[i].rms)
		}
	}
	return 0
}

// hopeless reports whether a rough hypothesis is no explanation. A hopeless one is hardly nearer to
// the output than the right graph, and far outside any noise that a mistake gives a graph. right is
// the right graph's residual.
func (h hypothesis) hopeless(right float64) bool {
	const noisiest = 10 * noisier * compare.MeasuredMaxRMSZ
	return h.rms > noisiest && accuracy*h.residual*compare.MinMargin > right
}

// part returns some features of the values of an output.
func (m *Module) part(values []float64, features []int) []float64 {
	width := m.Truth.Shape[len(m.Truth.Shape)-1]
	part := make([]float64, 0, len(values)/width*len(features))
	for row := range slices.Chunk(values, width) {
		for _, f := range features {
			part = append(part, row[f])
		}
	}
	return part
}

// missRough notes the distances of the hypotheses that were ruled out, exactly where they count.
func (m *Module) missRough(s *search, all []hypothesis, got []float64) {
	for _, h := range all {
		if h.rough && h.residual*accuracy < s.next {
			if h = m.against(got, h, m.outputOf(h)); !h.discarded {
				s.miss(h.residual)
			}
		}
	}
}
