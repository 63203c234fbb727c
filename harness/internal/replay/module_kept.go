package replay

import (
	"fmt"
	"sync"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// kept holds what is the same for every output of a module, as far as computed: the places of each
// mistake, and the outputs of its replays. Several goroutines may use it.
type kept struct {
	mu      sync.Mutex
	places  map[string][]int // by the mistake
	outputs map[string]*graph.Tensor[float64]

	roughOnce sync.Once
	rough     *graph.Rough // see [Module.roughly]

	nudgedOnce sync.Once
	nudged     *graph.Nudged
}

// mostKept is the number of elements up to which an output is kept.
const mostKept = 1 << 12

func newKept() *kept {
	return &kept{places: map[string][]int{}, outputs: map[string]*graph.Tensor[float64]{}}
}

// placesOf returns the nodes at which a mistake can be made.
func (m *Module) placesOf(mistake catalogue.Mistake) []int {
	key := called(mistake)
	m.kept.mu.Lock()
	places, known := m.kept.places[key]
	m.kept.mu.Unlock()
	if known {
		return places
	}
	places = m.view.Sites(mistake.Edit)
	m.kept.mu.Lock()
	m.kept.places[key] = places
	m.kept.mu.Unlock()
	return places
}

// called tells a mistake from all others. Mistakes with parameters have the same id, and titles
// with the names of the parameters.
func called(m catalogue.Mistake) string { return m.ID + " " + m.Title }

// outputOf returns the output of a hypothesis, nil if no program gives one.
func (m *Module) outputOf(h hypothesis) *graph.Tensor[float64] {
	key := fmt.Sprint(m.output, called(h.mistake), h.sites)
	return m.keptOutput(key, func() *graph.Graph { return m.edited(h) })
}

// keptOutput returns the output of a changed graph, nil if no program gives one. The key tells the
// change from all others. A small output is computed once.
func (m *Module) keptOutput(key string, changed func() *graph.Graph) *graph.Tensor[float64] {
	m.kept.mu.Lock()
	output, known := m.kept.outputs[key]
	m.kept.mu.Unlock()
	if known {
		return output
	}
	output = m.outputOfGraph(changed())
	if output == nil || len(output.Data) <= mostKept {
		m.kept.mu.Lock()
		m.kept.outputs[key] = output
		m.kept.mu.Unlock()
	}
	return output
}

// edited returns the graph of a hypothesis.
func (m *Module) edited(h hypothesis) *graph.Graph {
	return m.view.Apply(h.mistake.Edit, h.sites).Until(m.output)
}

// outputOfGraph returns the output of a changed graph. It returns nil if no program gives one, such
// as with a position beyond its table.
func (m *Module) outputOfGraph(g *graph.Graph) *graph.Tensor[float64] {
	values, err := graph.Outputs(m.graph, g, m.values, g.Output)
	if err != nil {
		return nil
	}
	return m.blank(values[g.Output])
}

// nudged returns the runs that measure the noise of the right graph, nil for a large graph.
func (m *Module) nudged() *graph.Nudged {
	m.kept.nudgedOnce.Do(func() { m.kept.nudged = graph.NewNudged(m.graph, m.given, m.values) })
	return m.kept.nudged
}
