package graph

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/parallel"
)

// runs is the number of float32 runs that measure noise. pyref measures with as many. roughRuns are
// the first of them.
const (
	runs      = 9
	roughRuns = 2
)

// NoiseOf measures the noise of some values of a graph. arrays has the inputs, parameters and
// constants by role, and truths holds the values in float64 by their names.
func NoiseOf(
	g *Graph, arrays map[string]*npy.Array, truths Values[float64],
) (map[string][]float64, error) {
	return NewJitter(g, arrays, truths).Sigma()
}

// Jitter measures the standard deviation that rounding gives each element of some values. Each run
// moves every float input and every parameter by -1, 0 or +1 unit in the last place, as earlier
// rounding would, and computes in float32. The variance of an element is its mean square error plus
// the mean over its row, because a mean over nine runs is uncertain: see sigma in
// pyref/capture/any_module.py.
type Jitter struct {
	graph  *Graph
	arrays map[string]*npy.Array
	truths Values[float64]
	factor func(x float32) float32 // rounds the factors of products, unless it is nil
	done   []Values[float32]       // the runs so far
	base   *Nudged                 // the runs of the graph that was changed, or nil
}

// NewJitter returns a Jitter that has made no run yet. [NoiseOf] takes the same arguments.
func NewJitter(g *Graph, arrays map[string]*npy.Array, truths Values[float64]) *Jitter {
	return &Jitter{graph: g, arrays: arrays, truths: truths}
}

// RoundingFactors returns a Jitter whose products round their factors first, as TensorFloat-32
// does.
func (j *Jitter) RoundingFactors(round func(x float32) float32) *Jitter {
	return &Jitter{graph: j.graph, arrays: j.arrays, truths: j.truths, factor: round}
}

// Sigma returns the standard deviations.
func (j *Jitter) Sigma() (map[string][]float64, error) { return j.sigma(runs) }

// Rough returns the standard deviations from two runs, which Sigma uses again. They may be half or
// twice as large as the ones that Sigma returns.
func (j *Jitter) Rough() (map[string][]float64, error) { return j.sigma(roughRuns) }

func (j *Jitter) sigma(runs int) (map[string][]float64, error) {
	if err := j.run(runs); err != nil {
		return nil, err
	}
	sigma := map[string][]float64{}
	for name, truth := range j.truths {
		variance := make([]float64, len(truth.Data))
		for _, values := range j.done[:runs] {
			for i, x := range values[name].Data {
				d := float64(x) - truth.Data[i]
				variance[i] += d * d / float64(runs)
			}
		}
		sigma[name] = deviations(variance, truth.Data, max(truth.last(), 1))
	}
	return sigma, nil
}

// run makes more runs, several at a time, until count runs are done.
func (j *Jitter) run(count int) error {
	if j.base != nil {
		return j.rerun(count)
	}
	given, err := Given[float32](j.graph, j.arrays)
	if err != nil {
		return err
	}
	first, last := len(j.done), lastUses(j.graph, 0, slices.Sorted(maps.Keys(j.truths)))
	made, errs := make([]Values[float32], max(0, count-first)), make([]error, max(0, count-first))
	inParallel(len(made), func() func(n int) {
		spare := map[int][][]float32{}
		return func(n int) {
			moved := nudging{g: j.graph, given: given, arrays: j.arrays, run: uint64(first + n), spare: spare}
			values, err := moved.computed(last, j.factor)
			made[n], errs[n] = j.keep(values), err
		}
	})
	return j.add(made, errs)
}

// rerun makes the same runs as run, each from the change of the graph on.
func (j *Jitter) rerun(count int) error {
	first := len(j.done)
	start := j.graph.firstChange(j.base.graph)
	last := lastUses(j.graph, start, slices.Sorted(maps.Keys(j.truths)))
	made, errs := make([]Values[float32], max(0, count-first)), make([]error, max(0, count-first))
	parallel.Each(len(made), func(n int) {
		known, err := j.base.values[first+n]()
		if err != nil {
			errs[n] = err
			return
		}
		p := plan[float32]{first: start, last: last, rounding: rand.New(rand.NewPCG(uint64(first+n), 0))}
		values, err := rerun(j.base.graph, j.graph, known, p)
		made[n], errs[n] = j.keep(values), err
	})
	return j.add(made, errs)
}

// keep returns the values of a run that have a truth.
func (j *Jitter) keep(values overlay[float32]) Values[float32] {
	kept := Values[float32]{}
	for name := range j.truths {
		kept[name] = values.of(name)
	}
	return kept
}

// add notes more runs.
func (j *Jitter) add(made []Values[float32], errs []error) error {
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("in float32: %w", err)
		}
	}
	j.done = append(j.done, made...)
	return nil
}

// inParallel calls the function that worker returns with 0 to n-1, several at a time. Each
// goroutine has a worker of its own.
func inParallel(n int, worker func() func(i int)) {
	var next atomic.Int64
	parallel.Each(min(n, runtime.GOMAXPROCS(0)), func(int) {
		work := worker()
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			work(i)
		}
	})
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

// computed returns the values of one run. factor rounds the factors of products, unless it is nil.
func (n nudging) computed(last map[string]int, factor func(x float32) float32) (overlay[float32], error) {
	r := rand.New(rand.NewPCG(n.run, 0))
	p := plan[float32]{last: last, parameters: n, rounding: r}
	if factor != nil {
		p.table = roundingFactors(factor, func() float32 { return 1 + r.Float32() })
	}
	return rerun(nil, n.g, n.others(), p)
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
		bits, end := r.Uint64(), min(start+8, len(data))
		to := data[start:end]
		for i, x := range t.Data[start:end] {
			to[i] = beside(x, units[uint8(bits)])
			bits >>= 8
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
