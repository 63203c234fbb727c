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

// RoughNoise measures as [Noise] does, from two runs. It may be half or twice the noise.
func RoughNoise(g *Graph, arrays map[string]*npy.Array, truth *Tensor[float64]) ([]float64, error) {
	sigma, err := noiseOf(g, arrays, Values[float64]{g.Output: truth}, 2)
	return sigma[g.Output], err
}

// NoiseOf measures the noise of some values as Noise does of the output. truths holds them in
// float64 by their names.
func NoiseOf(
	g *Graph, arrays map[string]*npy.Array, truths Values[float64],
) (map[string][]float64, error) {
	return noiseOf(g, arrays, truths, runs)
}

func noiseOf(
	g *Graph, arrays map[string]*npy.Array, truths Values[float64], runs int,
) (map[string][]float64, error) {
	given, err := Given[float32](g, arrays)
	if err != nil {
		return nil, err
	}
	variances := map[string][]float64{}
	for name, truth := range truths {
		variances[name] = make([]float64, len(truth.Data))
	}
	last, spare := lastUses(g, slices.Sorted(maps.Keys(truths))), map[int][][]float32{}
	for run := range runs {
		r := rand.New(rand.NewPCG(uint64(run), 0))
		moved := nudging{g: g, given: given, arrays: arrays, run: uint64(run), spare: spare}
		values, err := rerun(nil, g, moved.others(), plan[float32]{last: last, parameters: moved, rounding: r})
		if err != nil {
			return nil, fmt.Errorf("in float32: %w", err)
		}
		for name, variance := range variances {
			for i, x := range values[name].Data {
				d := float64(x) - truths[name].Data[i]
				variance[i] += d * d / float64(runs)
			}
		}
	}
	sigma := map[string][]float64{}
	for name, variance := range variances {
		sigma[name] = deviations(variance, truths[name].Data, max(truths[name].last(), 1))
	}
	return sigma, nil
}

// deviations returns the root of each variance plus the mean over its row. An element whose truth
// is NaN does not matter: it counts in no mean, and has no noise.
func deviations(variance, truth []float64, width int) []float64 {
	sigma := make([]float64, len(variance))
	for start := 0; start < len(variance); start += width {
		row := slices.Clone(variance[start : start+width])
		matters := row[:0]
		for i, v := range row {
			if !math.IsNaN(truth[start+i]) {
				matters = append(matters, v)
			}
		}
		mean := sumOf(matters) / float64(len(matters))
		for i := start; i < start+width; i++ {
			if !math.IsNaN(truth[i]) {
				sigma[i] = math.Sqrt(variance[i] + mean)
			}
		}
	}
	return sigma
}

// nudging is the float32 values of one run, each moved by at most a unit in the last place. A
// parameter is made when a node needs it, because two sets of parameters may not fit the memory.
type nudging struct {
	g      *Graph
	given  Values[float32]
	arrays map[string]*npy.Array
	run    uint64
	spare  map[int][][]float32 // by length
}

// others returns the inputs and constants. Integers, masks and constants are not moved.
func (n nudging) others() Values[float32] {
	moved := maps.Clone(n.given)
	for name, role := range n.g.Inputs {
		if _, err := n.arrays["inputs."+role].Float64s(); err == nil {
			moved[name] = n.nudge(name)
		}
	}
	for _, key := range n.g.Parameters {
		delete(moved, key)
	}
	return moved
}

// lend returns a parameter.
func (n nudging) lend(key string) *Tensor[float32] {
	if !slices.Contains(n.g.Parameters, key) {
		return nil
	}
	return n.nudge(key)
}

// giveBack keeps the memory of a parameter for another one of its size. Operators such as reshape
// give the memory of their operand on, so only the parameters of other operators are kept.
func (n nudging) giveBack(key string, t *Tensor[float32]) {
	shares := func(user Node) bool {
		_, reads := readsNarrow[user.Op]
		return !reads && slices.Contains(user.Operands, Value(key))
	}
	if slices.Contains(n.g.Parameters, key) && !slices.ContainsFunc(n.g.Nodes, shares) {
		n.spare[len(t.Data)] = append(n.spare[len(t.Data)], t.Data)
	}
}

// memory returns memory for so many elements.
func (n nudging) memory(size int) []float32 {
	spare := n.spare[size]
	if len(spare) == 0 {
		return make([]float32, size)
	}
	n.spare[size] = spare[:len(spare)-1]
	return spare[len(spare)-1]
}

// nudge returns a value whose elements are moved. Its name and the number of the run decide how.
func (n nudging) nudge(name string) *Tensor[float32] {
	seed := fnv.New64a()
	seed.Write([]byte(name))
	r, t := rand.NewPCG(n.run, seed.Sum64()), n.given[name]
	data := n.memory(len(t.Data))
	for start := 0; start < len(data); start += 8 {
		bits := r.Uint64()
		for i, x := range t.Data[start:min(start+8, len(data))] {
			data[start+i] = beside(x, units[uint8(bits>>(8*i))])
		}
	}
	return &Tensor[float32]{Shape: t.Shape, Data: data}
}

// units maps a random byte to -1, 0 or +1 unit in the last place.
var units = func() (u [256]int32) {
	for i := range u {
		u[i] = int32(i%3) - 1
	}
	return u
}()

// beside returns the float32 so many units further from 0. Zeros, infinities and NaN stay.
func beside(x float32, units int32) float32 {
	bits := math.Float32bits(x)
	if bits<<1 == 0 || bits&0x7f800000 == 0x7f800000 {
		return x
	}
	return math.Float32frombits(bits + uint32(units))
}
