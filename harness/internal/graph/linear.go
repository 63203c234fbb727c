package graph

import (
	"fmt"
	"slices"
)

// linear returns the operator that computes x times a weight plus a bias, over the last dimension
// of x. The function own multiplies by a weight that is stored in T.
func linear[T Float](
	own func(x []T, w matrix[T], y []T),
) func(n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	return func(n *Node, in []*Tensor[T]) (*Tensor[T], error) {
		x, w, bias := in[0], in[1], in[2]
		if len(w.Shape) != 2 || len(x.Shape) == 0 {
			return nil, fmt.Errorf("weight of shape %v for an input of shape %v", w.Shape, x.Shape)
		}
		out, inner := w.Shape[0], w.Shape[1]
		steps := [2]int{inner, 1} // of an output feature, of an input feature
		switch n.Attributes.Weight {
		case "out, in":
		case "in, out":
			out, inner, steps = inner, out, [2]int{1, inner}
		default:
			return nil, fmt.Errorf("weight: %.200q, want \"out, in\" or \"in, out\"", n.Attributes.Weight)
		}
		if x.last() != inner || bias != nil && !slices.Equal(bias.Shape, []int{out}) {
			return nil, fmt.Errorf("weight of shape %v for an input of shape %v", w.Shape, x.Shape)
		}
		y, err := New[T](append(slices.Clone(x.Shape[:len(x.Shape)-1]), out))
		if err != nil {
			return nil, err
		}
		if right := w.right(out, inner, n.Attributes.Weight); right != nil {
			right.Mul(len(x.Data)/max(inner, 1), x.Data, inner, y.Data, out)
		} else if w.narrow != nil {
			multiply(x.Data, matrix[float32]{w.narrow, out, inner, steps}, y.Data)
		} else {
			own(x.Data, matrix[T]{w.Data, out, inner, steps}, y.Data)
		}
		if bias != nil {
			added := bias.Wide().Data
			for start := 0; start < len(y.Data); start += out {
				row := y.Data[start:][:len(added)]
				for i, b := range added {
					row[i] += b
				}
			}
		}
		return y, nil
	}
}

// dot returns the sum of x[i] * y[i*step].
func dot[T Float](x, y []T, step int) T {
	var sum T
	if step == 1 {
		for i, v := range x {
			sum += v * y[i]
		}
		return sum
	}
	for i, v := range x {
		sum += v * y[i*step]
	}
	return sum
}

// matmul multiplies the last two dimensions. The others are broadcast.
func matmul[T Float](_ *Node, in []*Tensor[T]) (*Tensor[T], error) {
	a, b := in[0], in[1]
	if len(a.Shape) < 2 || len(b.Shape) < 2 || a.last() != b.Shape[len(b.Shape)-2] {
		return nil, fmt.Errorf("no product of %v and %v", a.Shape, b.Shape)
	}
	rows, inner, columns := a.Shape[len(a.Shape)-2], a.last(), b.last()
	ofParts := a.parts != nil && a.parts.size == rows*inner && columns == 1 && !sameBits[T]()
	outerA, outerB := a.Shape[:len(a.Shape)-2], b.Shape[:len(b.Shape)-2]
	outer, err := broadcast(outerA, outerB)
	if err != nil {
		return nil, err
	}
	y, err := New[T](append(slices.Clone(outer), rows, columns))
	if err != nil {
		return nil, err
	}
	if ofParts && slices.Equal(outerA, outerB) {
		a.parts.timesVectors(b.Data, rows, inner, y.Data)
		return y, nil
	}
	a = a.Wide()
	matrixA, matrixB := spread(outerA, outer), spread(outerB, outer)
	for m := range matrixA {
		left := a.Data[matrixA[m]*rows*inner:]
		right := b.Data[matrixB[m]*inner*columns:]
		to := y.Data[m*rows*columns:]
		if columns == 1 {
			timesVector(left[:rows*inner], right[:inner], to[:rows])
			continue
		}
		for i := range rows {
			row := to[i*columns : (i+1)*columns]
			for k, x := range left[i*inner : (i+1)*inner] {
				for j, y := range right[k*columns : (k+1)*columns] {
					row[j] += x * y
				}
			}
		}
	}
	return y, nil
}

// timesVector sets y to a matrix times a vector. Each sum is added in the order of the vector's
// elements. A few rows at once keep the processor busy while it adds.
func timesVector[T Float](matrix, x, y []T) {
	const few = 4
	inner := len(x)
	for ; len(y) >= few; matrix, y = matrix[few*inner:], y[few:] {
		p, q, r, s := matrix[:inner], matrix[inner:][:inner], matrix[2*inner:][:inner], matrix[3*inner:][:inner]
		var a, b, c, d T
		for k, v := range x {
			a += p[k] * v
			b += q[k] * v
			c += r[k] * v
			d += s[k] * v
		}
		y[0], y[1], y[2], y[3] = a, b, c, d
	}
	for r := range y {
		y[r] = dot(x, matrix[r*inner:][:inner], 1)
	}
}

// embedding takes the rows of a table.
func embedding[T Float](_ *Node, in []*Tensor[T]) (*Tensor[T], error) {
	table, ids := in[0], in[1]
	if len(table.Shape) != 2 {
		return nil, fmt.Errorf("table of shape %v", table.Shape)
	}
	width := table.Shape[1]
	out, err := New[T](append(slices.Clone(ids.Shape), width))
	if err != nil {
		return nil, err
	}
	for i, id := range ids.Wide().Data {
		if id < 0 || int(id) >= table.Shape[0] || T(int(id)) != id {
			return nil, fmt.Errorf("id %v is no row of a table with %d", id, table.Shape[0])
		}
		row := out.Data[i*width : (i+1)*width]
		if table.narrow == nil {
			copy(row, table.Data[int(id)*width:])
			continue
		}
		for f := range row {
			row[f] = T(table.narrow[int(id)*width+f])
		}
	}
	return out, nil
}
