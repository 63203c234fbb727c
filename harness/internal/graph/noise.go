package graph

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// runs is the number of float32 runs from which Noise measures. pyref measures with as many.
const runs = 9

// Noise measures the standard deviation that rounding gives each element of the output. Each run
// moves every float input and every parameter by -1, 0 or +1 unit in the last place, as earlier
// rounding would, and computes in float32. The variance of an element is its mean square error plus
// the mean over its row, because a mean over so few runs is uncertain: see sigma in
// pyref/capture/any_module.py.
//
// given holds the inputs, parameters and constants, whole the names that hold integers, and truth
// the output in float64.
func Noise(g *Graph, given Values[float32], whole map[string]bool, truth *Tensor[float64]) ([]float64, error) {
	variance := make([]float64, len(truth.Data))
	for run := range runs {
		r := rand.New(rand.NewPCG(uint64(run), 0))
		values, err := Run(g, nudged(g, given, whole, r))
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
func nudged(g *Graph, given Values[float32], whole map[string]bool, r *rand.Rand) Values[float32] {
	moved := Values[float32]{}
	for name, t := range given {
		moved[name] = t
	}
	nudge := func(name string) {
		if whole[name] {
			return
		}
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
	for name := range g.Inputs {
		nudge(name)
	}
	for _, key := range g.Parameters {
		nudge(key)
	}
	return moved
}
