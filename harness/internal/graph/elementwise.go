package graph

import (
	"math"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/x448/float16"
)

func hardSigmoid(x float64) float64 { return min(max(x+3, 0), 6) / 6 }

func softplus(x float64) float64 {
	if x > 20 { // PyTorch's threshold
		return x
	}
	return math.Log1p(math.Exp(x))
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x // 0, or NaN
}

func leakyReLU(x, slope float64) float64 {
	if x > 0 {
		return x
	}
	return x * slope
}

func elu(x, alpha float64) float64 {
	if x > 0 {
		return x
	}
	return alpha * math.Expm1(x)
}

// elementwise computes a function of each element, and rounds the result to T.
func elementwise[T Float](f func(float64) float64) func(*Node, []*Tensor[T]) (*Tensor[T], error) {
	return func(_ *Node, in []*Tensor[T]) (*Tensor[T], error) {
		out := made[T](in[0].Shape, len(in[0].Data))
		for i, x := range in[0].Data {
			out.Data[i] = T(f(float64(x)))
		}
		return out, nil
	}
}

// pairwise computes a function of two broadcast tensors, and rounds each result to T.
func pairwise[T Float](f func(x, y float64) float64) func(*Node, []*Tensor[T]) (*Tensor[T], error) {
	return func(_ *Node, in []*Tensor[T]) (*Tensor[T], error) {
		shape, err := broadcast(in[0].Shape, in[1].Shape)
		if err != nil {
			return nil, err
		}
		out, err := New[T](shape)
		if err != nil {
			return nil, err
		}
		left, right := in[0].Data, in[1].Data
		switch {
		case len(left) == len(out.Data) && len(right) == len(out.Data):
			for i, x := range left {
				out.Data[i] = T(f(float64(x), float64(right[i])))
			}
		case len(left) == len(out.Data) && len(right) == 1:
			for i, x := range left {
				out.Data[i] = T(f(float64(x), float64(right[0])))
			}
		default:
			to := out.Data
			l, r := view{spreadSteps(in[0].Shape, shape), 0}, view{spreadSteps(in[1].Shape, shape), 0}
			eachLine(shape, l, r, func(l, r, width, stepL, stepR int) {
				for i := range to[:width] {
					to[i] = T(f(float64(left[l+i*stepL]), float64(right[r+i*stepR])))
				}
				to = to[width:]
			})
		}
		return out, nil
	}
}

// compared computes a condition of two broadcast tensors.
func compared[T Float](f func(x, y float64) bool) func(*Node, []*Tensor[T]) (*Tensor[T], error) {
	compute := pairwise[T](func(x, y float64) float64 { return one(f(x, y)) })
	return func(n *Node, in []*Tensor[T]) (*Tensor[T], error) {
		out, err := compute(n, in)
		if err == nil {
			out.Bool = true
		}
		return out, err
	}
}

// not finds the elements that are 0, or false.
func not[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	out, err := elementwise[T](func(x float64) float64 { return one(x == 0) })(n, in)
	out.Bool = true
	return out, err
}

func one(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}

func toBFloat16(x float64) float64 { return float64(num.Nearest(float32(x), 16)) }

func toFloat16(x float64) float64 { return float64(float16.Fromfloat32(float32(x)).Float32()) }
