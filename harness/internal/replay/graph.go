package replay

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/npy"
)

// Module is a module whose graph is known, its truth, and its values in float64.
type Module struct {
	Truth compare.Expected

	graph  *graph.Graph
	output string // the name of the value that is the module's output
	last   int    // the place of the last node that may matter to the output
	view   *graph.View
	values graph.Values[float64]
	given  map[string]*npy.Array // by role
	lower  bool                  // Truth has the noise of a lower precision
	within string                // path of the submodule to ask about other values; "" for all
	kept   *kept
	large  float64 // see the constant of this name
	// attention finds the attention in the graph when first called. An output that passes needs
	// none.
	attention func() attentionPlaces
	without   []string // the ids of mistakes that the catalogue lacks
	// right is the output in float64. padded returns which rows of a value of some shape do not
	// matter, nil if all do.
	right  *graph.Tensor[float64]
	padded func(shape []int) []bool
}

// NewModule computes a graph. given holds the arrays by role, as [graph.Given] wants them.
func NewModule(g *graph.Graph, given map[string]*npy.Array, truth compare.Expected) (*Module, error) {
	wide, err := graph.Given[float64](g, given)
	if err != nil {
		return nil, err
	}
	values, err := graph.Run(g, wide)
	if err != nil {
		return nil, err
	}
	view := graph.NewView(g, values)
	m := &Module{
		Truth: truth, graph: g, output: g.Output, last: len(g.Nodes) - 1,
		view: view, values: values, given: given, kept: newKept(), large: large,
	}
	m.attention = sync.OnceValue(m.attentionPlaces)
	return m.WithPadding(func([]int) []bool { return nil }), nil
}

// Output returns the output of the graph in float64, with NaN in rows that do not matter.
func (m *Module) Output() *graph.Tensor[float64] { return m.right }

// Without returns the same module for a catalogue that lacks a mistake.
func (m *Module) Without(id string) *Module {
	other := *m
	other.without = append(slices.Clone(m.without), id)
	return &other
}

// known returns the mistakes of models, and the mistakes of attention that can be made in the
// graph.
func (m *Module) known() []catalogue.Mistake {
	all := slices.Concat(edits.Mistakes, m.attention().known)
	return slices.DeleteFunc(all, func(k catalogue.Mistake) bool { return slices.Contains(m.without, k.ID) })
}

// hypothesis is a mistake at some places of a graph, with the output that it gives.
type hypothesis struct {
	mistake catalogue.Mistake
	where   string // the path of the only place; "" for all places
	graph   *graph.Graph
	sites   []int
	output  *graph.Tensor[float64] // nil if the hypothesis is discarded, or too far to be kept

	rms       float64 // of the distance from the subject's output, in the case's sigma
	residual  float64 // RMS(got - output) / RMS(output)
	discarded bool    // no program gives an output, or the mistake changes nothing
	rough     bool    // rms and residual are from float32
	near      bool    // they do not rule out the hypothesis
}

// A hypothesis that leaves more than [compare.MaxResidual] explains nothing, whatever its noise.
//
// noisier is how many times further from the output than the nearest hypothesis another may be, and
// still be measured. A mistake can make a computation noisier, so that its right replay is not
// nearest in the noise of the case.
const noisier = 3

// Find returns the mistakes that give an output: each at all of its places, or else in all modules
// of one kind, or else in one layer, or else in one module. Places that are the same at two of
// these steps are computed once.
func (m *Module) Find(ctx context.Context, got []float64) ([]Match, Cut) {
	found, _, cut := m.Measure(ctx, got)
	return found, cut
}

// Measure finds mistakes as [Module.Find] does. It also returns the distance of the output from
// every mistake that it made, each at its nearest place, the nearest first.
func (m *Module) Measure(ctx context.Context, got []float64) ([]Match, []Distance, Cut) {
	known := map[string]hypothesis{}
	for _, step := range []struct {
		place func(path string) string
		words string
	}{
		{everywhere, "mistakes made everywhere"},
		{kindOf, "mistakes made in one kind of layer"},
		{layerOf, "mistakes made in one layer"},
		{itself, "mistakes made in one module"},
	} {
		made, cut := m.made(ctx, step.place, step.words, known, got)
		if cut != "" {
			return nil, byDistance(known), cut
		}
		s := newSearch()
		s.miss(compare.Residual(got, m.Truth.Value)) // a mistake must come much nearer
		m.confirm(s, m.withoutDoubles(made), got)
		if found := s.matches(); len(found) > 0 {
			return found, byDistance(known), ""
		}
	}
	return nil, byDistance(known), ""
}

// made computes every mistake at each of its places. known holds what was computed before. The
// words tell the step's name to whom listens, and in the cut.
func (m *Module) made(
	ctx context.Context, place func(path string) string, words string, known map[string]hypothesis, got []float64,
) ([]hypothesis, Cut) {
	all, best := m.hypotheses(place), newBest()
	missing := each(ctx, words, len(all), func(i int) {
		h, ok := known[all[i].key()]
		if ok {
			h.where = all[i].where
		} else {
			h = m.first(all[i], got)
		}
		all[i] = best.kept(h)
	})
	if missing == 0 {
		missing = m.exactly(ctx, all, got, words)
	}
	if missing > 0 {
		return nil, Cut(fmt.Sprintf("%d of %d %s were not tried", missing, len(all), words))
	}
	for i, h := range all {
		all[i] = best.kept(h)
		known[h.key()] = all[i]
	}
	return slices.DeleteFunc(all, func(h hypothesis) bool { return h.discarded }), ""
}

// hypotheses returns every mistake at each of its places.
func (m *Module) hypotheses(place func(path string) string) []hypothesis {
	var all []hypothesis
	for _, mistake := range m.known() {
		all = append(all, m.at(mistake, place)...)
	}
	return all
}

// key tells a hypothesis from others.
func (h hypothesis) key() string { return fmt.Sprint(called(h.mistake), h.sites) }

// best is the least distance of the hypotheses so far.
type best struct {
	mu    sync.Mutex
	least float64
}

func newBest() *best { return &best{least: math.Inf(1)} }

// kept notes the distance of a hypothesis, and returns it without its output if it is far: large
// models have large outputs.
func (b *best) kept(h hypothesis) hypothesis {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.discarded || h.rough {
		return h
	}
	b.least = min(b.least, h.rms)
	if h.isFar(b.least) {
		h.output = nil
	}
	return h
}

// at returns a mistake at each of its places. The function place turns the path of a module into a
// place, such as the path of its layer.
func (m *Module) at(mistake catalogue.Mistake, place func(path string) string) []hypothesis {
	sites := map[string][]int{}
	var order []string
	for _, site := range m.placesOf(mistake) {
		if site > m.last {
			break
		}
		where := place(m.pathOf(mistake, site))
		if mistake.Joint {
			where = wholeLayer(where)
		}
		if sites[where] == nil {
			order = append(order, where)
		}
		sites[where] = append(sites[where], site)
	}
	var made []hypothesis
	for _, where := range order {
		made = append(made, hypothesis{mistake: mistake, where: where, sites: sites[where]})
	}
	return made
}

// everywhere and itself turn the path of a module into no place, and into a place of its own.
func everywhere(string) string  { return "" }
func itself(path string) string { return path }

// layerOf returns the part of a path that ends with its layer's number, or the path itself.
func layerOf(path string) string {
	return cmp.Or(graph.LayerPath(path), path)
}

// wholeLayer returns the path of the layer around a place, or of all layers if the place is one
// kind of module in them. All places together stay "".
func wholeLayer(place string) string {
	if prefix, _, isKind := strings.Cut(place, ".*."); isKind {
		return prefix + ".*"
	}
	return layerOf(place)
}

// compute replays a hypothesis, which is discarded if it cannot be computed or changes nothing.
func (m *Module) compute(h hypothesis, got []float64) hypothesis {
	return m.against(got, h, m.outputOf(h))
}

// against holds the output of a hypothesis against the subject's. The hypothesis is discarded if it
// has no output, or the right one.
func (m *Module) against(got []float64, h hypothesis, output *graph.Tensor[float64]) hypothesis {
	h.output, h.discarded, h.rough, h.near = nil, true, false, false
	if output == nil {
		return h
	}
	if h.rms = inNoise(got, output.Data, m.Truth.Sigma); math.IsInf(h.rms, 1) || compare.Same(output.Data, m.Output().Data) {
		return h
	}
	h.output, h.discarded, h.residual = output, false, compare.Residual(got, output.Data)
	return h
}

// confirm holds the output against the nearest hypotheses, each in its own noise. The noise of the
// hopeful ones is measured first, and of the others only if one of these may match.
func (m *Module) confirm(s *search, all []hypothesis, got []float64) {
	least := leastOf(all)
	noises := make([]*noise, len(all))
	measure := func(chosen func(h hypothesis) bool) (some bool) {
		for i, h := range all {
			near := !h.rough && !h.isFar(least) && !(h.residual > compare.MaxResidual)
			if near && noises[i] == nil && chosen(h) {
				noises[i] = m.noiseFor(h, got)
				some = some || noises[i] != nil
			}
		}
		return some
	}
	if !measure(func(h hypothesis) bool { return s.hopeful(h.residual) }) {
		return
	}
	measure(func(h hypothesis) bool { return !s.hopeful(h.residual) })
	for i, h := range all {
		switch own := noises[i]; {
		case h.rough:
		case own == nil:
			s.miss(h.residual)
		default:
			h.graph, h.output = own.graph, own.output
			if wrong, err := own.expected(); err == nil {
				s.addAt(got, wrong, h)
			}
		}
	}
	if len(s.found) > 0 {
		m.missRough(s, all, got)
	}
}

// noiseFor returns the noise of a hypothesis, nil if the noise is too small to explain the output.
func (m *Module) noiseFor(h hypothesis, got []float64) *noise {
	if h.output == nil {
		h.output = m.outputOf(h)
	}
	own := m.noiseOf(m.edited(h), h.output)
	if own.tooSmall(got) {
		return nil
	}
	return own
}

// leastOf returns the distance of the nearest hypothesis.
func leastOf(all []hypothesis) float64 {
	least := math.Inf(1)
	for _, h := range all {
		least = min(least, h.rms)
	}
	return least
}

// isFar reports whether another hypothesis, at the least distance, is so much nearer that this
// one's own noise cannot explain the output.
func (h hypothesis) isFar(least float64) bool {
	return h.rms > noisier*least && h.rms > compare.MeasuredMaxRMSZ
}
