package graph

import (
	"maps"
	"sync"

	"github.com/difftest/difftest/harness/internal/npy"
)

// Nudged holds the values of a small graph in the runs that measure noise. The runs of a changed
// graph then begin at the change. Several goroutines may use it.
type Nudged struct {
	graph  *Graph
	values [runs]func() (Values[float32], error)
}

// NewNudged returns nil for a graph whose values, in all runs, take much memory. arrays and truths
// are as in [NewJitter], with a truth for every node.
func NewNudged(g *Graph, arrays map[string]*npy.Array, truths Values[float64]) *Nudged {
	const most = 1 << 21 // elements of one run: 75 MB in all
	size := 0
	for _, t := range truths {
		size += max(len(t.Data), len(t.narrow))
	}
	if size > most {
		return nil
	}
	n := &Nudged{graph: g}
	given := sync.OnceValues(func() (Values[float32], error) { return Given[float32](g, arrays) })
	for run := range n.values {
		n.values[run] = sync.OnceValues(func() (Values[float32], error) {
			given, err := given()
			if err != nil {
				return nil, err
			}
			moved := nudging{g: g, given: given, arrays: arrays, run: uint64(run)}
			return moved.everything()
		})
	}
	return n
}

// everything returns every value of one run, the parameters among them.
func (n nudging) everything() (Values[float32], error) {
	known := n.others()
	for _, key := range n.g.Parameters {
		known[key] = n.nudge(key)
	}
	own, err := rerun(nil, n.g, known, plan[float32]{})
	if err != nil {
		return nil, err
	}
	maps.Copy(known, own.own)
	return known, nil
}

// Jitter returns a Jitter for the output of a changed graph.
func (n *Nudged) Jitter(changed *Graph, truth *Tensor[float64]) *Jitter {
	return &Jitter{graph: changed, truths: Values[float64]{changed.Output: truth}, base: n}
}
