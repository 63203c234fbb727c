package graph

import (
	"fmt"
	"math"

	"github.com/difftest/difftest/attention/kernel"
	"github.com/difftest/difftest/harness/internal/num"
)

// gelu computes torch.nn.functional.gelu in its two forms. Some models round the factor
// sqrt(2 / pi) of the approximation.
func gelu[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	switch n.Attributes.Approximate {
	case "none":
		return elementwise[T](num.GELU)(n, in)
	case "tanh":
		factor := math.Sqrt(2 / math.Pi)
		if c := n.Attributes.Factor; c != nil {
			factor = *c
		}
		out := &Tensor[T]{Shape: in[0].Shape, Data: make([]T, len(in[0].Data))}
		geluTanh(in[0].Data, factor, out.Data)
		return out, nil
	}
	return nil, fmt.Errorf("approximate: %.200q, want none or tanh", n.Attributes.Approximate)
}

// geluTanh computes x/2 (1 + tanh(y)) as x sigmoid(2 y). The exponentials of many elements at once
// are quick.
func geluTanh[T Float](from []T, factor float64, to []T) {
	const atOnce = 256
	var memory [atOnce]float64
	for len(from) > 0 {
		exps := memory[:min(atOnce, len(from))]
		for i := range exps {
			x := float64(from[i])
			exps[i] = -2 * math.Abs(factor*(x+0.044715*x*x*x))
		}
		kernel.ExpSum(exps, 0)
		for i, e := range exps {
			x := float64(from[i])
			part := 1.0 // of 1 + e
			if (x < 0) != (factor < 0) {
				part = e
			}
			to[i] = T(x * part / (1 + e))
		}
		from, to = from[len(exps):], to[len(exps):]
	}
}
