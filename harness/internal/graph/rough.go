package graph

import (
	"maps"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/difftest/difftest/harness/internal/npy"
)

// Rough computes changed graphs in float32, which takes a third of the time that float64 takes. Of
// an output with many features, such as the logits of a large vocabulary, it computes a random
// part. The results show which graphs are too far from an output to be computed exactly.
type Rough struct {
	graph  *Graph
	values Values[float32]

	last     *Node // the node of the output, nil unless a part of its features is computed
	part     Node  // the node that computes the part
	features []int // of the part
	right    *Tensor[float32]
}

// roughOperators is the table in float32, with a faster product.
var roughOperators = func() map[string]operator[float32] {
	table := maps.Clone(operators32)
	product := table["linear"]
	product.compute = linear(roughMultiply)
	table["linear"] = product
	return table
}()

// NewRough computes a graph. arrays has the inputs, parameters and constants by role.
func NewRough(g *Graph, arrays map[string]*npy.Array) (*Rough, error) {
	given, err := Given[float32](g, arrays)
	if err != nil {
		return nil, err
	}
	values, err := rerun(nil, g, given, plan[float32]{table: roughOperators})
	if err != nil {
		return nil, err
	}
	maps.Copy(given, values.own)
	r := &Rough{graph: g, values: given}
	r.samplePart()
	return r, nil
}

// samplePart prepares the part of the output's features, if the output is a linear layer of many.
func (r *Rough) samplePart() {
	const many, share = 4096, 8
	n := &r.graph.Nodes[len(r.graph.Nodes)-1]
	out := r.values[n.Name].last()
	if n.Name != r.graph.Output || n.Op != "linear" || n.Attributes.Weight != "out, in" || out < many {
		return
	}
	r.last, r.part = n, *n
	r.features = rand.New(rand.NewPCG(1, uint64(out))).Perm(out)[:out/share]
	slices.Sort(r.features)
	r.right = r.values[n.Name].lastPart(r.features)
	r.part.Shape = r.right.Shape
	for i, o := range n.Operands[1:] {
		if o.Name == "" {
			continue
		}
		// A weight and a bias have one row for each feature.
		whole := r.values[o.Name]
		rows := &Tensor[float32]{Shape: []int{out, len(whole.Data) / out}, Data: whole.Data}
		part := &Tensor[float32]{Shape: slices.Clone(whole.Shape), Data: rows.rowsAt(r.features)}
		part.Shape[0] = len(r.features)
		name := "part of " + o.Name
		r.values[name] = part
		r.part = r.part.Put(i+1, Value(name))
	}
}

// Output returns the output of a changed graph, and the right output. If it is a part of the
// output, it also returns which features are in the part.
func (r *Rough) Output(after *Graph) (output, right *Tensor[float32], features []int, err error) {
	right = r.values[after.Output]
	if n := len(after.Nodes) - 1; r.last != nil && after.Output == r.last.Name && same(r.last, &after.Nodes[n]) {
		part := *after
		part.base = nil
		part.Nodes = append(slices.Clone(after.Nodes[:n]), r.part)
		after, right, features = &part, r.right, r.features
	}
	first := after.firstChange(r.graph)
	p := plan[float32]{table: roughOperators, first: first, last: lastUses(after, first, []string{after.Output})}
	values, err := rerun(r.graph, after, r.values, p)
	if err != nil {
		return nil, nil, nil, err
	}
	return values.of(after.Output), right, features, nil
}

// lastPart returns some features of a tensor, its last dimension.
func (t *Tensor[T]) lastPart(features []int) *Tensor[T] {
	part := &Tensor[T]{Shape: slices.Clone(t.Shape)}
	part.Shape[len(part.Shape)-1] = len(features)
	for row := range slices.Chunk(t.Data, t.last()) {
		for _, f := range features {
			part.Data = append(part.Data, row[f])
		}
	}
	return part
}

// rowsAt returns some rows of a matrix.
func (t *Tensor[T]) rowsAt(rows []int) []T {
	width := t.last()
	part := make([]T, 0, len(rows)*width)
	for _, row := range rows {
		part = append(part, t.Data[row*width:][:width]...)
	}
	return part
}

// roughMultiply sets y to x times the transposed weight, in one goroutine and in any order of
// summation. A few rows of x stay in the processor's cache while the weights pass by.
func roughMultiply(x []float32, w matrix[float32], y []float32) {
	const few = 8
	if w.inner == 0 || w.out == 0 {
		return
	}
	var gathered []float32
	if w.steps[1] != 1 {
		gathered = make([]float32, columns*w.inner)
	}
	var sums [few]float32
	for from := 0; from < w.out; from += columns {
		block, end := gathered, min(from+columns, w.out)
		if gathered == nil {
			block = w.data[from*w.inner : end*w.inner]
		} else {
			w.gather(from, end, gathered)
		}
		for row := 0; row < len(x)/w.inner; row += few {
			count := min(few, len(x)/w.inner-row)
			rows := blas32.General{Rows: count, Cols: w.inner, Stride: w.inner, Data: x[row*w.inner:]}
			for j := from; j < end; j++ {
				blas32.Gemv(blas.NoTrans, 1, rows, vector(block[(j-from)*w.inner:][:w.inner]), 0, vector(sums[:count]))
				for r, sum := range sums[:count] {
					y[(row+r)*w.out+j] = sum
				}
			}
		}
	}
}

func vector(x []float32) blas32.Vector { return blas32.Vector{N: len(x), Data: x, Inc: 1} }
