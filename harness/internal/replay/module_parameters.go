package replay

import (
	"context"
	"fmt"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/graph"
)

// FindParameters looks for parameters that stand in the wrong place, or are zero or one, and give
// an output. It returns nothing for a large model, which has many of them.
func (m *Module) FindParameters(ctx context.Context, got []float64) ([]Match, Cut) {
	mistakes := edits.Parameters(m.view)
	if !m.affordable(len(mistakes)) {
		return nil, ""
	}
	made, best := make([]hypothesis, len(mistakes)), newBest()
	missing := each(ctx, "parameters in other places", len(mistakes), func(i int) {
		h := hypothesis{mistake: mistakes[i], sites: m.sites(mistakes[i].Edit)}
		h = m.against(got, h, m.outputOfGraph(m.edited(h)))
		if made[i] = h; h.residual <= compare.MaxResidual {
			made[i] = best.kept(h)
		} else {
			made[i].output = nil // a model has many such hypotheses
		}
	})
	if missing > 0 {
		text := "%d of %d ways to exchange parameters were not tried"
		return nil, Cut(fmt.Sprintf(text, missing, len(mistakes)))
	}
	s := newSearch()
	s.miss(compare.Residual(got, m.Truth.Value))
	m.confirm(s, slices.DeleteFunc(made, func(h hypothesis) bool {
		far := h.residual > compare.MaxResidual
		if far {
			s.miss(h.residual)
		}
		return far || h.discarded
	}), got)
	return s.matches(), ""
}

// sites lists the nodes to which an edit applies, and that may matter to the output.
func (m *Module) sites(edit graph.Edit) []int {
	return slices.DeleteFunc(m.view.Sites(edit), func(site int) bool { return site > m.last })
}

// affordable reports whether a number of replays of the whole graph takes seconds, not minutes.
func (m *Module) affordable(replays int) bool {
	const most = 1e10 // operations
	return float64(replays)*m.work() <= most
}

// work estimates the operations that the graph takes: its products, and some for each element.
func (m *Module) work() float64 {
	const each = 4
	count := 0.0
	for _, n := range m.graph.Nodes[:m.last+1] {
		size := float64(len(m.values[n.Name].Data))
		count += each * size
		if n.Op == "linear" || n.Op == "matmul" {
			x := m.values[n.Operands[0].Name]
			count += size * float64(x.Shape[len(x.Shape)-1])
		}
	}
	return count
}

// ParameterFactors looks for a parameter, or one of each layer, that is a multiple of the right
// one.
func (m *Module) ParameterFactors(ctx context.Context, got []float64) ([]NumberMatch, Cut) {
	factors := edits.ParameterFactors(m.view)
	if !m.affordable(8 * len(factors)) {
		return nil, ""
	}
	s := newSearch()
	s.miss(compare.Residual(got, m.Truth.Value))
	var searches []*moduleSearch
	for _, n := range factors {
		at := &numberSites{number: n, right: 1, sites: m.sites(n.To(1))}
		if len(at.sites) > 0 {
			searches = append(searches, newModuleSearch(ctx, m, at, got))
		}
	}
	found := runAll(ctx, "multiples of parameters", s, searches)
	if ctx.Err() != nil {
		return nil, "factors of parameters were not all tried"
	}
	return withMargin(found, s.next), ""
}
