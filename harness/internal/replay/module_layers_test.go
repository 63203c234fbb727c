package replay

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/num"
)

// layers is a small graph in the making. Its values are drawn.
type layers struct {
	t      *testing.T
	graph  *graph.Graph
	given  map[string]*npy.Array
	shapes map[string][]int
	random *rand.Rand
}

func newLayers(t *testing.T) *layers {
	return &layers{
		t: t, graph: &graph.Graph{Inputs: map[string]string{}}, given: map[string]*npy.Array{},
		shapes: map[string][]int{}, random: rand.New(rand.NewPCG(1, 2)),
	}
}

// drawn returns values of a normal distribution.
func (l *layers) drawn(shape ...int) []float32 {
	values := make([]float32, num.Size(shape))
	for i := range values {
		values[i] = float32(l.random.NormFloat64())
	}
	return values
}

func (l *layers) array(values []float32, shape []int) *npy.Array {
	a, err := npy.TensorArray(&attention.Tensor{Shape: shape, Data: values}, npy.Float32)
	require.NoError(l.t, err)
	return a
}

// input adds an input with some values.
func (l *layers) input(name string, values []float32, shape ...int) {
	l.graph.Inputs[name], l.shapes[name], l.given["inputs."+name] = name, shape, l.array(values, shape)
}

// parameter adds a parameter.
func (l *layers) parameter(key string, shape ...int) graph.Operand {
	if l.given["state_dict."+key] == nil {
		values := l.drawn(shape...)
		for i := range values {
			values[i] /= float32(math.Sqrt(float64(num.Last(shape))))
		}
		l.graph.Parameters = append(l.graph.Parameters, key)
		l.given["state_dict."+key] = l.array(values, shape)
	}
	return graph.Value(key)
}

// add adds a node. Its module has the node's name.
func (l *layers) add(name, op string, a graph.Attributes, shape []int, operands ...graph.Operand) {
	n := graph.Node{Name: name, Op: op, Operands: operands, Attributes: a, Shape: shape, Module: name}
	l.graph.Nodes, l.shapes[name], l.graph.Output = append(l.graph.Nodes, n), shape, name
}

// linear adds a linear layer, with a bias if it is asked for.
func (l *layers) linear(name, x string, out int, bias bool) {
	shape := l.shapes[x]
	b := graph.None
	w := l.parameter(name+".weight", out, num.Last(shape))
	if bias {
		b = l.parameter(name+".bias", out)
	}
	l.add(name, "linear", graph.Attributes{Weight: "out, in"}, append(slices.Clone(shape[:len(shape)-1]), out), graph.Value(x), w, b)
}

// like adds a node of one operand, whose shape stays.
func (l *layers) like(name, op string, a graph.Attributes, x string) {
	l.add(name, op, a, l.shapes[x], graph.Value(x))
}

// module returns the module with its measured noise.
func (l *layers) module() *Module {
	m, err := NewModule(l.graph, l.given, compare.Expected{})
	require.NoError(l.t, err)
	sigma, err := graph.NoiseOf(l.graph, l.given, graph.Values[float64]{m.output: m.right})
	require.NoError(l.t, err)
	m.Truth = compare.Expected{Shape: m.right.Shape, Value: m.right.Data, Sigma: sigma[m.output], Measured: true}
	return m
}

// with returns the output in float32 if some parameters are others.
func with(t *testing.T, m *Module, change map[string]func(values []float32)) []float64 {
	given, err := graph.Given[float32](m.graph, m.given)
	require.NoError(t, err)
	for key, f := range change {
		other := &graph.Tensor[float32]{Shape: given[key].Shape, Data: slices.Clone(given[key].Data)}
		f(other.Data)
		given[key] = other
	}
	values, err := graph.Run(m.graph, given)
	require.NoError(t, err)
	var output []float64
	for _, x := range values[m.output].Data {
		output = append(output, float64(x))
	}
	return output
}

// changed is the output with one parameter that is another one.
func changed(t *testing.T, m *Module, key string, f func(values []float32)) []float64 {
	return with(t, m, map[string]func([]float32){key: f})
}

// redrawn draws the elements anew whose places a function chooses. The weight has width columns.
func redrawn(width int, chosen func(out, in int) bool) func([]float32) {
	return func(values []float32) {
		r := rand.New(rand.NewPCG(3, 4))
		for i := range values {
			if x := float32(r.NormFloat64()); chosen(i/width, i%width) {
				values[i] = x
			}
		}
	}
}

// moved moves the elements whose places a function chooses.
func moved(width int, chosen func(out, in int) bool) func([]float32) {
	return func(values []float32) {
		for i := range values {
			if chosen(i/width, i%width) {
				values[i] += 0.1 + 0.3*float32(math.Sin(float64(i)))
			}
		}
	}
}

func titles(found []ValueMatch) string {
	var all []string
	for _, v := range found {
		all = append(all, v.Title())
	}
	return strings.Join(all, ", or of ")
}

// head is a model of one layer: its output is the model's.
func head(t *testing.T, rows, in, out int, bias bool) *Module {
	l := newLayers(t)
	l.input("x", l.drawn(rows, in), rows, in)
	l.linear("head", "x", out, bias)
	return l.module()
}

// perceptron is a model of two layers with a tanh between them.
func perceptron(t *testing.T, rows, in, hidden, out int) *Module {
	l := newLayers(t)
	l.input("x", l.drawn(rows, in), rows, in)
	l.linear("up", "x", hidden, true)
	l.like("bent", "tanh", graph.Attributes{}, "up")
	l.linear("down", "bent", out, true)
	return l.module()
}
