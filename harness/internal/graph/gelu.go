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
		out := made[T](in[0].Shape, len(in[0].Data))
		for i, x := range in[0].Data {
			out.Data[i] = T(num.GELU(float64(x)))
		}
		return out, nil
	case "tanh":
		factor := math.Sqrt(2 / math.Pi)
		if c := n.Attributes.Factor; c != nil {
			factor = *c
		}
		out := made[T](in[0].Shape, len(in[0].Data))
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
			// 1 or e of 1 + e, by the sign of x times the factor. A branch would be guessed wrong
			// half of the time.
			negative := uint64(int64(math.Float64bits(x)^math.Float64bits(factor)) >> 63)
			part := math.Float64frombits(math.Float64bits(1)&^negative | math.Float64bits(e)&negative)
			to[i] = T(x * part / (1 + e))
		}
		from, to = from[len(exps):], to[len(exps):]
	}
}
