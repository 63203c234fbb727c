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
	sigma, err := NoiseOf(g, arrays, Values[float64]{g.Output: truth})
	return sigma[g.Output], err
}

// NoiseOf measures the noise of some values as Noise does of the output. truths holds them in
// float64 by their names.
func NoiseOf(
	g *Graph, arrays map[string]*npy.Array, truths Values[float64],
) (map[string][]float64, error) {
	given, err := Given[float32](g, arrays)
	if err != nil {
		return nil, err
	}
	variances := map[string][]float64{}
	for name, truth := range truths {
		variances[name] = make([]float64, len(truth.Data))
	}
	for run := range runs {
		r := rand.New(rand.NewPCG(uint64(run), 0))
		values, err := Run(g, nudged(g, given, arrays, r))
		if err != nil {
			return nil, fmt.Errorf("in float32: %w", err)
		}
		for name, variance := range variances {
			for i, x := range values[name].Data {
				d := float64(x) - truths[name].Data[i]
				variance[i] += d * d / runs
			}
		}
	}
	sigma := map[string][]float64{}
	for name, variance := range variances {
		sigma[name] = deviations(variance, max(truths[name].last(), 1))
	}
	return sigma, nil
}

// deviations returns the root of each variance plus the mean over its row.
func deviations(variance []float64, width int) []float64 {
	sigma := make([]float64, len(variance))
	for start := 0; start < len(variance); start += width {
		mean := sumOf(variance[start:start+width]) / float64(width)
		for i := start; i < start+width; i++ {
			sigma[i] = math.Sqrt(variance[i] + mean)
		}
	}
	return sigma
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
