package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

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
	view   *graph.View
	values graph.Values[float64]
	narrow graph.Values[float32] // inputs, parameters and constants
	whole  map[string]bool       // the values that hold integers
	known  []catalogue.Mistake
}

// NewModule computes a graph. given holds the arrays by role, as [graph.Given] wants them.
func NewModule(g *graph.Graph, given map[string]*npy.Array, truth compare.Expected) (*Module, error) {
	wide, err := graph.Given[float64](g, given)
	if err != nil {
		return nil, err
	}
	narrow, err := graph.Given[float32](g, given)
	if err != nil {
		return nil, err
	}
	values, err := graph.Run(g, wide)
	if err != nil {
		return nil, err
	}
	whole := map[string]bool{}
	for name, role := range g.Inputs {
		dtype := given["inputs."+role].DType
		whole[name] = dtype == npy.Int64 || dtype == npy.Bool
	}
	return &Module{
		Truth: truth, graph: g, view: graph.NewView(g, values), values: values,
		narrow: narrow, whole: whole, known: edits.Mistakes,
	}, nil
}

// Output returns the output of the graph in float64.
func (m *Module) Output() *graph.Tensor[float64] { return m.values[m.graph.Output] }

// Without returns the same module for a catalogue that lacks a mistake.
func (m *Module) Without(id string) *Module {
	other := *m
	other.known = slices.DeleteFunc(slices.Clone(m.known), func(k catalogue.Mistake) bool { return k.ID == id })
	return &other
}

// hypothesis is a mistake at some places of a graph, with the output that it gives.
type hypothesis struct {
	mistake catalogue.Mistake
	where   string // the path of the only place; "" for all places
	graph   *graph.Graph
	output  *graph.Tensor[float64]
	rms     float64 // of the distance from the subject's output, in the case's sigma
}

// A hypothesis that leaves more than [compare.MaxResidual] explains nothing, whatever its noise.
//
// noisier is how many times further from the output than the nearest hypothesis another may be, and
// still be measured. A mistake can make a computation noisier, so that its right replay is not
// nearest in the noise of the case.
const noisier = 3

// Find returns the mistakes that give an output: each at all of its places, or else in one layer,
// or else in one module.
func (m *Module) Find(ctx context.Context, got []float64) ([]Match, Cut) {
	all := func(string) string { return "" }
	module := func(path string) string { return path }
	for _, place := range []func(path string) string{all, layerOf, module} {
		s := newSearch()
		var made []hypothesis
		for i, mistake := range m.known {
			if ctx.Err() != nil {
				return nil, Cut(fmt.Sprintf("%d of %d mistakes were not tried on this module", len(m.known)-i, len(m.known)))
			}
			made = append(made, m.compute(m.at(mistake, place), got)...)
		}
		m.confirm(s, made, got)
		if found := s.matches(); len(found) > 0 {
			return found, ""
		}
	}
	return nil, ""
}

// at returns a mistake at each of its places. The function place turns the path of a module into a
// place, such as the path of its layer.
func (m *Module) at(mistake catalogue.Mistake, place func(path string) string) []hypothesis {
	sites := map[string][]int{}
	var order []string
	for _, site := range m.view.Sites(mistake.Edit) {
		where := place(m.graph.Nodes[site].Module)
		if sites[where] == nil {
			order = append(order, where)
		}
		sites[where] = append(sites[where], site)
	}
	var made []hypothesis
	for _, where := range order {
		made = append(made, hypothesis{
			mistake: mistake, where: where, graph: m.view.Apply(mistake.Edit, sites[where]),
		})
	}
	return made
}

// Alone is the output of a mistake in one layer.
type Alone struct {
	Where  string // the path of the layer
	Output []float64
}

// Alone returns the outputs of a mistake in each of its layers, if there are several.
func (m *Module) Alone(mistake catalogue.Mistake) []Alone {
	made := m.at(mistake, layerOf)
	if len(made) < 2 {
		return nil
	}
	var all []Alone
	for _, h := range m.compute(made, m.Output().Data) {
		all = append(all, Alone{h.where, h.output.Data})
	}
	return all
}

// layerOf returns the part of a path that ends with its layer's number, or the path itself.
func layerOf(path string) string {
	prefix, number, _ := graph.Layer(path)
	if number < 0 {
		return path
	}
	return strings.TrimPrefix(fmt.Sprintf("%s.%d", prefix, number), ".")
}

// compute replays hypotheses. It leaves out every hypothesis that cannot be computed or that
// changes nothing.
func (m *Module) compute(all []hypothesis, got []float64) []hypothesis {
	var computed []hypothesis
	for _, h := range all {
		values, err := graph.Rerun(m.graph, h.graph, m.values)
		if err != nil {
			continue // such as a position beyond its table: no program gives an output then
		}
		h.output = values[h.graph.Output]
		h.rms = m.distance(got, h.output.Data)
		if !math.IsNaN(h.rms) && !slices.Equal(h.output.Data, m.Output().Data) {
			computed = append(computed, h)
		}
	}
	return computed
}

// distance returns the root mean square of a difference in the case's sigma.
func (m *Module) distance(got, replay []float64) float64 {
	sum, count := 0.0, 0
	for i, g := range got {
		if sigma := m.Truth.Sigma[i]; sigma > 0 {
			z := (g - replay[i]) / sigma
			sum, count = sum+z*z, count+1
		}
	}
	return math.Sqrt(sum / float64(count))
}

// confirm holds the output against the nearest hypotheses, each in its own noise.
func (m *Module) confirm(s *search, all []hypothesis, got []float64) {
	least := math.Inf(1)
	for _, h := range all {
		least = min(least, h.rms)
	}
	for _, h := range all {
		residual := compare.Residual(got, h.output.Data)
		far := h.rms > noisier*least && h.rms > compare.MeasuredMaxRMSZ
		if far || residual > compare.MaxResidual {
			s.miss(residual)
			continue
		}
		sigma, err := graph.Noise(h.graph, m.narrow, m.whole, h.output)
		if err != nil {
			continue
		}
		s.addAt(got, compare.Expected{Shape: m.Truth.Shape, Value: h.output.Data, Sigma: sigma, Measured: true},
			h.where, h.mistake)
	}
}

// Reproduces fails if the graph does not give the truth of its module.
func (m *Module) Reproduces() error {
	const exact = 1e-9
	out := m.Output()
	if !slices.Equal(out.Shape, m.Truth.Shape) {
		return errors.New("the output of the graph has another shape than the module's")
	}
	worst, largest := 0.0, 0.0
	for i, want := range m.Truth.Value {
		worst, largest = max(worst, math.Abs(out.Data[i]-want)), max(largest, math.Abs(want))
	}
	if !(worst <= exact*largest) {
		return fmt.Errorf("the graph differs from PyTorch's float64 result by %.2g of its largest value, "+
			"want at most %.0e", worst/largest, exact)
	}
	return nil
}
