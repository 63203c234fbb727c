package graph

import (
	"fmt"
	"hash/fnv"
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
	names := slices.Sorted(maps.Keys(truths))
	for run := range runs {
		moved, p := nudged(g, given, arrays, uint64(run))
		p.last = lastUses(g, names)
		values, err := rerun(nil, g, moved, p)
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

// nudged returns the inputs and constants of a run, and the plan that makes its parameters. Each
// parameter is made when a node needs it, because two sets of parameters may not fit the memory.
func nudged(
	g *Graph, given Values[float32], arrays map[string]*npy.Array, run uint64,
) (Values[float32], plan[float32]) {
	moved := maps.Clone(given)
	for name, role := range g.Inputs {
		// Integers and masks are not moved.
		if _, err := arrays["inputs."+role].Float64s(); err == nil {
			moved[name] = nudge(given[name], name, run)
		}
	}
	for _, key := range g.Parameters {
		delete(moved, key)
	}
	return moved, plan[float32]{parameter: func(key string) *Tensor[float32] {
		if given[key] == nil {
			return nil
		}
		return nudge(given[key], key, run)
	}}
}

// nudge returns a tensor whose elements are moved by at most a unit in the last place. Its name and
// the number of the run decide how.
func nudge(t *Tensor[float32], name string, run uint64) *Tensor[float32] {
	seed := fnv.New64a()
	seed.Write([]byte(name))
	r := rand.NewPCG(run, seed.Sum64())
	moved := &Tensor[float32]{Shape: t.Shape, Data: make([]float32, len(t.Data))}
	for start := 0; start < len(t.Data); start += 8 {
		bits := r.Uint64()
		from := t.Data[start:min(start+8, len(t.Data))]
		for i, x := range from {
			moved.Data[start+i] = beside(x, units[uint8(bits>>(8*i))])
		}
	}
	return moved
}

// units maps a random byte to -1, 0 or +1 unit in the last place.
var units = func() (u [256]int32) {
	for i := range u {
		u[i] = int32(i%3) - 1
	}
	return u
}()

// beside returns the float32 so many units further from 0. Zeros and what is not finite stay.
func beside(x float32, units int32) float32 {
	bits := math.Float32bits(x)
	if bits<<1 == 0 || bits&0x7f800000 == 0x7f800000 {
		return x
	}
	return math.Float32frombits(bits + uint32(units))
}
