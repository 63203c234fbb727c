package replay

import (
	"context"
	"fmt"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
)

// FindNumbers looks for a number in the graph that gives an output with another value: at all of
// its places, or else in one part of every layer, or else in one layer, or else in one module. It
// returns several numbers if the case cannot tell them apart.
func (m *Module) FindNumbers(ctx context.Context, got []float64) ([]NumberMatch, Cut) {
	const replays = 12 // of a search, on average
	tried := map[string]bool{}
	for level, step := range []struct {
		place func(path string) string
		words string
	}{
		{everywhere, "other numbers everywhere"},
		{kindOf, "other numbers in one kind of layer"},
		{layerOf, "other numbers in one layer"},
		{itself, "other numbers in one module"},
	} {
		s := newSearch()
		s.miss(compare.Residual(got, m.Truth.Value)) // a number must come much nearer
		var searches []*moduleSearch
		for _, n := range edits.Numbers {
			for _, at := range m.numberSites(n, step.place) {
				if key := fmt.Sprint(n.ID, at.sites); !tried[key] {
					tried[key] = true
					searches = append(searches, newModuleSearch(ctx, m, at, got))
				}
			}
		}
		if level > 0 && !m.affordable(replays*len(searches)) {
			return nil, ""
		}
		if found := runAll(ctx, step.words, s, searches); len(found) > 0 || ctx.Err() != nil {
			if ctx.Err() != nil {
				return nil, "not every number of the graph was searched"
			}
			return withMargin(found, s.next), ""
		}
	}
	return nil, ""
}

// numberSites is a number of a graph, at nodes that have the same value of it.
type numberSites struct {
	number edits.Number
	right  float64
	where  string // as in [NumberMatch]
	sites  []int
}

// numberSites returns the places of a number, with one entry for each value, class and place. The
// function place turns the path of a module into a place.
func (m *Module) numberSites(n edits.Number, place func(path string) string) []*numberSites {
	known := map[string]*numberSites{}
	var all []*numberSites
	for i, node := range m.graph.Nodes[:m.last+1] {
		right, ok := n.At(m.view, node)
		if !ok {
			continue
		}
		of, where := n, place(node.Module)
		if n.ByClass && node.Class != "" {
			of.Title += " in " + node.Class
		}
		key := fmt.Sprint(right, of.Title, where)
		if known[key] == nil {
			known[key] = &numberSites{number: of, right: right, where: where}
			all = append(all, known[key])
		}
		known[key].sites = append(known[key].sites, i)
	}
	return all
}

// runAll runs searches, and returns what they found. The stage names them to whom listens. runAll
// notes in s how near the others came.
func runAll(ctx context.Context, stage string, s *search, searches []*moduleSearch) []NumberMatch {
	found, next := make([]*NumberMatch, len(searches)), make([]float64, len(searches))
	each(ctx, stage, len(searches), func(i int) { found[i], next[i] = searches[i].find() })
	var matches []NumberMatch
	for i, m := range found {
		if m != nil {
			matches = append(matches, *m)
		} else {
			s.miss(next[i])
		}
	}
	return slices.Clip(matches)
}
