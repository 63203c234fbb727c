package graph

import (
	"fmt"
	"math"
	"slices"
)

// attend computes torch.nn.functional.scaled_dot_product_attention on tensors of shape (...,
// tokens, features). The mask is of booleans, true where a key is seen, or of numbers to add to the
// scores. A query that sees no key gives zeros. Sinks hold one more score for each head, which has
// no key.
func attend[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	q, k, v, mask, sinks := in[0], in[1], in[2], in[3], in[4]
	rank := len(q.Shape)
	if rank < 2 || len(k.Shape) != rank || len(v.Shape) != rank || q.last() != k.last() ||
		!slices.Equal(q.Shape[:rank-2], k.Shape[:rank-2]) || !slices.Equal(k.Shape[:rank-1], v.Shape[:rank-1]) {
		return nil, fmt.Errorf("no attention of %v, %v and %v", q.Shape, k.Shape, v.Shape)
	}
	queries, keys, size, width := q.Shape[rank-2], k.Shape[rank-2], q.last(), v.last()
	scoreShape := append(slices.Clone(q.Shape[:rank-1]), keys)
	if _, err := elements(scoreShape); err != nil {
		return nil, err
	}
	if sinks != nil && (rank < 3 || !slices.Equal(sinks.Shape, q.Shape[rank-3:rank-2])) {
		return nil, fmt.Errorf("sinks of shape %v for queries of shape %v", sinks.Shape, q.Shape)
	}
	var places []int // of each query's first element of the mask
	apart := 0       // from one key to the next
	if mask != nil {
		shape, err := broadcast(mask.Shape, scoreShape)
		if err != nil || !slices.Equal(shape, scoreShape) {
			return nil, fmt.Errorf("mask of shape %v for scores of shape %v", mask.Shape, scoreShape)
		}
		steps := spreadSteps(mask.Shape, scoreShape)
		places, apart = walk(scoreShape[:rank-1], steps[:rank-1], 0), steps[rank-1]
	}
	out, err := New[T](append(slices.Clone(q.Shape[:rank-1]), width))
	if err != nil {
		return nil, err
	}
	row := make([]T, keys, keys+1)
	for i := range len(out.Data) / max(width, 1) {
		matrix, query := i/queries, i%queries
		timesVector(k.Data[matrix*keys*size:][:keys*size], q.Data[i*size:][:size], row)
		for j, product := range row {
			row[j] = score(n, product)
			if n.Attributes.Causal && j > query {
				row[j] = T(math.Inf(-1))
			}
			if mask != nil {
				row[j] = masked(row[j], mask.Data[places[i]+j*apart], mask.Bool)
			}
		}
		if sinks != nil {
			row = append(row, sinks.Data[matrix%len(sinks.Data)])
		}
		weigh(row, v.Data[matrix*keys*width:(matrix+1)*keys*width], out.Data[i*width:(i+1)*width])
		row = row[:keys]
	}
	return out, nil
}

// score scales a product of a query and a key, and caps it.
func score[T Float](n *Node, product T) T {
	s := product * T(n.Attributes.Scale)
	if c := n.Attributes.Softcap; c != nil {
		s = T(*c) * T(math.Tanh(float64(s/T(*c))))
	}
	return s
}

func masked[T Float](score, mask T, boolean bool) T {
	switch {
	case !boolean:
		return score + mask
	case mask == 0:
		return T(math.Inf(-1))
	}
	return score
}

// weigh adds up the values by the softmax of their scores. A last score may have no value.
func weigh[T Float](scores, values, to []T) {
	if len(scores) == 0 || math.IsInf(float64(slices.Max(scores)), -1) {
		return
	}
	normalizeScores(scores)
	scores = scores[:min(len(scores), len(values)/max(len(to), 1))]
	width := len(to)
	for ; len(scores) >= 4; scores, values = scores[4:], values[4*width:] {
		p, q, r, s := values[:width], values[width:][:width], values[2*width:][:width], values[3*width:][:width]
		a, b, c, d := scores[0], scores[1], scores[2], scores[3]
		for f, sum := range to {
			to[f] = sum + a*p[f] + b*q[f] + c*r[f] + d*s[f]
		}
	}
	for j, w := range scores {
		for f, v := range values[j*width:][:width] {
			to[f] += w * v
		}
	}
}

// rotary computes x cos + turned(x) sin. Turned(x) has a pair (a, b) of features as (-b, a). A pair
// has one feature of each half of the last dimension, or two neighbours.
func rotary[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	x, width := in[0], in[0].last()
	shape, err := broadcast(x.Shape, in[1].Shape)
	if err != nil || !slices.Equal(shape, x.Shape) || !slices.Equal(in[1].Shape, in[2].Shape) || width%2 != 0 {
		return nil, fmt.Errorf("tables of shapes %v and %v for %v", in[1].Shape, in[2].Shape, x.Shape)
	}
	var partner func(i int) (int, T)
	switch half := width / 2; n.Attributes.Pairs {
	case "halves":
		partner = func(i int) (int, T) {
			if i < half {
				return i + half, -1
			}
			return i - half, 1
		}
	case "neighbours":
		partner = func(i int) (int, T) {
			if i%2 == 0 {
				return i + 1, -1
			}
			return i - 1, 1
		}
	default:
		return nil, fmt.Errorf("pairs: %.200q, want halves or neighbours", n.Attributes.Pairs)
	}
	out, err := New[T](x.Shape)
	if err != nil {
		return nil, err
	}
	row := 0
	eachLine(x.Shape, view{spreadSteps(in[1].Shape, x.Shape), 0}, view{}, func(at, _, _, step, _ int) {
		from, to := x.Data[row:row+width], out.Data[row:row+width]
		for i, v := range from {
			other, sign := partner(i)
			to[i] = v*in[1].Data[at+i*step] + sign*from[other]*in[2].Data[at+i*step]
		}
		row += width
	})
	return out, nil
}
