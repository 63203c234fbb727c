package graph

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/npy"
)

// runs is the number of float32 runs from which Noise measures. pyref measures with as many.
const runs = 9

// Noise measures the standard deviation that rounding gives each element of the output. Each run
// moves every float input and every parameter by -1, 0 or +1 unit in the last place, as earlier
// rounding would, and computes in float32. The variance of an element is its mean square error plus
// the mean over its row, because a mean over nine runs is uncertain: see sigma in
// pyref/capture/any_module.py.
//
// arrays has the inputs, parameters and constants by role, and truth is the output in float64.
func Noise(g *Graph, arrays map[string]*npy.Array, truth *Tensor[float64]) ([]float64, error) {
	given, err := Given[float32](g, arrays)
	if err != nil {
		return nil, err
	}
	variance := make([]float64, len(truth.Data))
	for run := range runs {
		r := rand.New(rand.NewPCG(uint64(run), 0))
		values, err := rerun(nil, g, nudged(g, given, arrays, r), r)
		if err != nil {
			return nil, fmt.Errorf("in float32: %w", err)
		}
		for i, x := range values[g.Output].Data {
			d := float64(x) - truth.Data[i]
			variance[i] += d * d / runs
		}
	}
	width := max(truth.last(), 1)
	sigma := make([]float64, len(variance))
	for start := 0; start < len(variance); start += width {
		mean := sumOf(variance[start:start+width]) / float64(width)
		for i := start; i < start+width; i++ {
			sigma[i] = math.Sqrt(variance[i] + mean)
		}
	}
	return sigma, nil
}

// nudged returns the values with floats moved by at most a unit in the last place.
func nudged(g *Graph, given Values[float32], arrays map[string]*npy.Array, r *rand.Rand) Values[float32] {
	moved := maps.Clone(given)
	nudge := func(name string) {
		t := given[name]
		data := make([]float32, len(t.Data))
		for i, x := range t.Data {
			switch data[i] = x; r.IntN(3) {
			case 0:
				data[i] = math.Nextafter32(x, float32(math.Inf(1)))
			case 1:
				data[i] = math.Nextafter32(x, float32(math.Inf(-1)))
			}
		}
		moved[name] = &Tensor[float32]{Shape: t.Shape, Data: data}
	}
	for _, name := range slices.Sorted(maps.Keys(g.Inputs)) {
		// Integers and masks are not moved.
		if _, err := arrays["inputs."+g.Inputs[name]].Float64s(); err == nil {
			nudge(name)
		}
	}
	for _, key := range g.Parameters {
		nudge(key)
	}
	return moved
}
