package replay

import (
	"context"
	"fmt"
	"math"
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
	made := make([]hypothesis, 0, len(mistakes))
	least := math.Inf(1)
	s := newSearch()
	s.miss(compare.Residual(got, m.Truth.Value))
	for i, mistake := range mistakes {
		if ctx.Err() != nil {
			text := "%d of %d ways to exchange parameters were not tried"
			return nil, Cut(fmt.Sprintf(text, len(mistakes)-i, len(mistakes)))
		}
		h := hypothesis{mistake: mistake, sites: m.sites(mistake.Edit)}
		h = m.against(got, h, m.outputOfGraph(m.edited(h)))
		if h.output == nil {
			continue
		}
		if h.isFar(least) || h.residual > compare.MaxResidual {
			s.miss(h.residual) // its output is not kept: a model has many such hypotheses
			continue
		}
		least = min(least, h.rms)
		made = append(made, h)
	}
	m.confirm(s, made, got)
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
	found := runAll(s, searches)
	if ctx.Err() != nil {
		return nil, "factors of parameters were not all tried"
	}
	return withMargin(found, s.next), ""
}
