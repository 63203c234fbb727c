package replay

import (
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
)

// large is the number of operations above which the replays of a module are first made in float32.
const large = 1e8

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

// ruledOut replays a hypothesis in float32. It reports whether the output is so far from the
// subject's that the exact replay explains nothing either.
//
// If the hypothesis is right, the subject's output and the rough one are about equally far from the
// exact one. So the rough one is at most about twice as far from the subject's as an explanation
// may be. A random part of the features may be somewhat further.
func (m *Module) ruledOut(h hypothesis, got []float64) (hypothesis, bool) {
	const far = 3 * compare.MaxResidual
	r := m.roughly()
	if r == nil {
		return h, false
	}
	output, right, features, err := r.Output(m.edited(h))
	if err != nil || slices.Equal(output.Data, right.Data) {
		return h, false
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
	h.rough = h.residual > far && !math.IsInf(h.residual, 1) && !math.IsInf(h.rms, 1)
	return h, h.rough
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
	const accuracy = 0.5 // of a rough distance, at least
	for _, h := range all {
		if h.rough && h.residual*accuracy < s.next {
			if h = m.against(got, h, m.outputOf(h)); !h.discarded {
				s.miss(h.residual)
			}
		}
	}
}
