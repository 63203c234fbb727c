package graph

import (
	"fmt"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
)

// operator is one entry of the table: how many operands it takes, and what it computes.
type operator[T Float] struct {
	least, most int
	numbers     bool  // operands may be numbers
	absent      []int // operands that may be absent
	compute     func(n *Node, in []*Tensor[T]) (*Tensor[T], error)
}

func (o operator[T]) optional(i int) bool { return slices.Contains(o.absent, i) }

var (
	operators64 = operators[float64]()
	operators32 = operators[float32]()
)

// operators returns the table. An operator computes what PyTorch's function of its name computes,
// unless a comment says otherwise.
func operators[T Float]() map[string]operator[T] {
	table := map[string]operator[T]{
		"linear":     {3, 3, false, []int{2}, linear[T]},
		"matmul":     {2, 2, false, nil, matmul[T]},
		"embedding":  {2, 2, false, nil, embedding[T]},
		"layer_norm": {3, 3, false, []int{1, 2}, layerNorm[T]}, // over the last dimension
		"rms_norm":   {2, 2, false, []int{1}, rmsNorm[T]},      // over the last dimension
		"softmax":    {1, 1, false, nil, softmax[T]},
		"attention":  {4, 4, false, []int{3}, attend[T]}, // scaled_dot_product_attention
		"rotary":     {3, 3, false, nil, rotary[T]},      // x cos + turned(x) sin

		"convolution": {3, 3, false, []int{2}, convolution[T]},  // over one or two dimensions
		"max_pool":    {1, 1, false, nil, maxPool[T]},           // max_pool2d
		"batch_norm":  {5, 5, false, []int{1, 2}, batchNorm[T]}, // with running statistics

		"repeat_interleave": {1, 1, false, nil, repeatInterleave[T]},
		"index":             {2, 4, false, nil, index[T]}, // x[..., indices, ...]
		"topk":              {1, 1, false, nil, topk[T]},
		"topk_indices":      {1, 1, false, nil, topkIndices[T]},
		"where":             {3, 3, true, nil, where[T]},
		"clamp":             {3, 3, true, []int{1, 2}, clamp[T]},

		"reshape": {1, 1, false, nil, reshape[T]},
		"permute": {1, 1, false, nil, permute[T]},
		"expand":  {1, 1, false, nil, expand[T]},
		"slice":   {1, 1, false, nil, slice[T]},
		"select":  {1, 1, false, nil, selectOne[T]},
		"cat":     {1, 64, false, nil, cat[T]},

		"mean": {1, 1, false, nil, reduction(sumOf[T], true)},
		"sum":  {1, 1, false, nil, reduction(sumOf[T], false)},
		"max":  {1, 1, false, nil, reduction(largest[T], false)},
	}
	for name, f := range unary {
		table[name] = operator[T]{1, 1, false, nil, elementwise[T](f)}
	}
	for name, f := range binary {
		table[name] = operator[T]{2, 2, true, nil, pairwise[T](f)}
	}
	table["gelu"] = operator[T]{1, 1, false, nil, gelu[T]}
	return table
}

// unary holds the elementwise functions of one operand.
var unary = map[string]func(x float64) float64{
	"neg":        func(x float64) float64 { return -x },
	"exp":        math.Exp,
	"log":        math.Log,
	"sqrt":       math.Sqrt,
	"rsqrt":      func(x float64) float64 { return 1 / math.Sqrt(x) },
	"tanh":       math.Tanh,
	"sigmoid":    num.Sigmoid,
	"silu":       num.SiLU,
	"quick_gelu": func(x float64) float64 { return x * num.Sigmoid(1.702*x) }, // OpenAI's CLIP
	"relu":       func(x float64) float64 { return max(x, 0) },
	"sin":        math.Sin,
	"cos":        math.Cos,
	"abs":        math.Abs,
	"erf":        math.Erf,
	"softplus": func(x float64) float64 {
		if x > 20 { // PyTorch's threshold
			return x
		}
		return math.Log1p(math.Exp(x))
	},
}

// binary holds the elementwise functions of two operands, which are broadcast.
var binary = map[string]func(x, y float64) float64{
	"add": func(x, y float64) float64 { return x + y },
	"sub": func(x, y float64) float64 { return x - y },
	"mul": func(x, y float64) float64 { return x * y },
	"div": func(x, y float64) float64 { return x / y },
	"pow": math.Pow,
}

// elementwise computes a function of each element, and rounds the result to T.
func elementwise[T Float](f func(float64) float64) func(*Node, []*Tensor[T]) (*Tensor[T], error) {
	return func(_ *Node, in []*Tensor[T]) (*Tensor[T], error) {
		out := &Tensor[T]{Shape: in[0].Shape, Data: make([]T, len(in[0].Data))}
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
		left, right := spread(in[0].Shape, shape), spread(in[1].Shape, shape)
		for i := range out.Data {
			out.Data[i] = T(f(float64(in[0].Data[left[i]]), float64(in[1].Data[right[i]])))
		}
		return out, nil
	}
}

// gelu computes torch.nn.functional.gelu in its two forms.
func gelu[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	f, ok := map[string]func(float64) float64{"none": num.GELU, "tanh": num.GELUTanh}[n.Attributes.Approximate]
	if !ok {
		return nil, fmt.Errorf("approximate: %q, want none or tanh", n.Attributes.Approximate)
	}
	return elementwise[T](f)(n, in)
}
