package graph

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/num"
)

// operator is one entry of the table: its operands, its attributes, and what it computes.
type operator[T Float] struct {
	operands   signature
	attributes string // names in graph.json; one with ? may be absent
	does       string // for the table in the docs
	compute    func(n *Node, in []*Tensor[T]) (*Tensor[T], error)
}

var (
	operators64 = operators[float64]()
	operators32 = operators[float32]()
)

// operators returns the table. An operator computes what PyTorch's function of its name computes,
// unless its description says otherwise.
func operators[T Float]() map[string]operator[T] {
	window := "kernel stride padding"
	table := map[string]operator[T]{
		"linear":      {"x weight bias?", "weight", "x times a weight, plus a bias", linear(multiply[T, T])},
		"matmul":      {"x y", "", "product of the last two dimensions", matmul[T]},
		"embedding":   {"table ids", "", "rows of a table", embedding[T]},
		"softmax":     {"x", "dim", "softmax over one dimension", softmax[T]},
		"log_softmax": {"x", "dim", "logarithm of softmax", logSoftmax[T]},
		"attention": {
			"query key value mask? sinks?", "scale softcap causal",
			"scaled_dot_product_attention; a query that sees no key gives zeros; sinks are scores without a key", attend[T],
		},
		"rotary": {"x cos sin", "pairs", "x cos + turned(x) sin, for pairs of features", rotary[T]},

		"layer_norm": {"x weight? bias?", "eps", "over the last dimension", layerNorm[T]},
		"rms_norm":   {"x weight?", "eps offset", "over the last dimension; the weight gets an offset", rmsNorm[T]},
		"group_norm": {"x weight? bias?", "groups eps", "over groups of channels", groupNorm[T]},
		"batch_norm": {"x weight? bias? mean variance", "eps", "with running statistics", batchNorm[T]},

		"convolution": {
			"x weight bias?", "stride padding dilation groups", "over one to three dimensions", convolution[T],
		},
		"convolution_transposed": {
			"x weight bias?", "stride padding output_padding dilation groups",
			"over one to three dimensions", convolutionTransposed[T],
		},
		"max_pool":     {"x", window, "largest element of each window", maxPool[T]},
		"average_pool": {"x", window + " count_padding", "mean of each window", averagePool[T]},
		"upsample":     {"x", "mode size steps corners", "interpolation of images", upsample[T]},
		"pad":          {"x", "before after mode value", "more elements around x", pad[T]},

		"lstm":       {"x hidden? cells? w_x w_h b_x? b_h?", "gates reverse", "one layer: hidden states", lstm[T]},
		"lstm_cells": {"x hidden? cells? w_x w_h b_x? b_h?", "gates reverse", "one layer: cells", lstmCells[T]},
		"gru":        {"x hidden? w_x w_h b_x? b_h?", "gates reset reverse", "one layer: hidden states", gru[T]},
		"rnn":        {"x hidden? w_x w_h b_x? b_h?", "function reverse", "one layer: hidden states", rnn[T]},

		"repeat_interleave": {"x", "dim times", "each slice of a dimension several times", repeatInterleave[T]},
		"index":             {"x indices...", "dims", "x[..., indices, ...]", index[T]},
		"gather":            {"x indices", "dim", "elements along one dimension", gather[T]},
		"scatter":           {"x indices new#", "dim", "x with elements along one dimension replaced", scatter[T](replace)},
		"scatter_add":       {"x indices new#", "dim", "x with elements along one dimension added", scatter[T](add)},
		"topk":              {"x", "dim count", "largest elements, in falling order", topk[T]},
		"topk_indices":      {"x", "dim count", "places of the largest elements", topkIndices[T]},
		"where":             {"condition yes# no#", "", "yes where the condition holds, no elsewhere", where[T]},
		"clamp":             {"x low#? high#?", "", "x between two numbers", clamp[T]},

		"reshape": {"x", "shape", "the same elements in another shape", reshape[T]},
		"permute": {"x", "dims", "dimensions in another order", permute[T]},
		"expand":  {"x", "shape", "dimensions of size 1 repeated", expand[T]},
		"slice":   {"x", "dim start stop step", "a part of one dimension", slice[T]},
		"select":  {"x", "dim index", "one index of a dimension", selectOne[T]},
		"cat":     {"parts...", "dim", "tensors one after the other", cat[T]},

		"mean":   {"x", "dims keep", "over dimensions", reduction(meanOf[T], false)},
		"sum":    {"x", "dims keep", "over dimensions", reduction(sumOf[T], false)},
		"prod":   {"x", "dims keep", "product over dimensions", reduction(productOf[T], false)},
		"max":    {"x", "dims keep", "largest over dimensions", reduction(largest[T], true)},
		"min":    {"x", "dims keep", "smallest over dimensions", reduction(smallest[T], true)},
		"cumsum": {"x", "dim", "sums of the elements so far", cumulate[T]},

		"gelu": {"x", "approximate factor?", "GELU by the error function or by tanh", gelu[T]},
	}
	for name, f := range unary {
		table[name] = operator[T]{"x", "", f.does, elementwise[T](f.of)}
	}
	for name, f := range binary {
		table[name] = operator[T]{"x# y#", "", f.does, pairwise[T](f.of)}
	}
	for name, f := range logical {
		table[name] = operator[T]{"x# y#", "", f.does, compared[T](f.of)}
	}
	table["logical_not"] = operator[T]{"x", "", "whether x is 0", not[T]}
	return table
}

// Operator describes an operator of the table.
type Operator struct {
	Name string
	// Operands are names. A name with ? may be absent, with # may be a number, and with ... stands
	// for one or more operands.
	Operands []string
	// Attributes are names. A name with ? may be absent.
	Attributes []string
	Does       string
}

// Operators describes all operators, by name.
func Operators() []Operator {
	var all []Operator
	for _, name := range slices.Sorted(maps.Keys(operators64)) {
		o := operators64[name]
		all = append(all, Operator{name, strings.Fields(string(o.operands)), strings.Fields(o.attributes), o.does})
	}
	return all
}

// signature lists operands by name. A name with ? may be absent, with # may be a number, and with
// ... stands for at least one and at most maxParts operands. Absent operands at the end may be left
// out.
type signature string

const maxParts = 64

// check reports the first operand that the signature does not allow.
func (s signature) check(operands []Operand) error {
	names := strings.Fields(string(s))
	most := len(names)
	if strings.HasSuffix(names[most-1], "...") {
		most += maxParts - 1
	}
	if len(operands) > most {
		return fmt.Errorf("operands: %d, want %d", len(operands), most)
	}
	for i := range max(len(operands), len(names)) {
		name, o := names[min(i, len(names)-1)], None
		if i < len(operands) {
			o = operands[i]
		}
		if o.Name == "" && !o.Absent && !strings.Contains(name, "#") {
			return fmt.Errorf("operands[%d]: want a name, not a number", i)
		}
		if o.Absent && !strings.Contains(name, "?") {
			return fmt.Errorf("operands[%d]: missing", i)
		}
	}
	return nil
}

// count returns the number of operands that a computation gets, at least.
func (s signature) count() int { return len(strings.Fields(string(s))) }

// unary holds the elementwise functions of one operand.
var unary = map[string]struct {
	of   func(x float64) float64
	does string
}{
	"neg":         {func(x float64) float64 { return -x }, "-x"},
	"exp":         {math.Exp, "e^x"},
	"expm1":       {math.Expm1, "e^x - 1"},
	"log":         {math.Log, "natural logarithm"},
	"log1p":       {math.Log1p, "log(1 + x)"},
	"sqrt":        {math.Sqrt, "square root"},
	"rsqrt":       {func(x float64) float64 { return 1 / math.Sqrt(x) }, "1 / square root"},
	"tanh":        {math.Tanh, "hyperbolic tangent"},
	"sigmoid":     {num.Sigmoid, "1 / (1 + e^-x)"},
	"silu":        {num.SiLU, "x sigmoid(x)"},
	"quick_gelu":  {func(x float64) float64 { return x * num.Sigmoid(1.702*x) }, "x sigmoid(1.702 x), as in CLIP"},
	"relu":        {func(x float64) float64 { return max(x, 0) }, "x or 0"},
	"hardsigmoid": {hardSigmoid, "(x + 3) / 6 between 0 and 1"},
	"hardswish":   {func(x float64) float64 { return x * hardSigmoid(x) }, "x hardsigmoid(x)"},
	"mish":        {func(x float64) float64 { return x * math.Tanh(softplus(x)) }, "x tanh(softplus(x))"},
	"softplus":    {softplus, "log(1 + e^x), and x above 20"},
	"sin":         {math.Sin, "sine"},
	"cos":         {math.Cos, "cosine"},
	"erf":         {math.Erf, "error function"},
	"abs":         {math.Abs, "absolute value"},
	"sign":        {sign, "-1, 0 or 1"},
	"floor":       {math.Floor, "largest integer below"},
	"ceil":        {math.Ceil, "smallest integer above"},
	"round":       {math.RoundToEven, "nearest integer, half to even"},
	"trunc":       {math.Trunc, "integer part"},
	"bfloat16":    {toBFloat16, "nearest number of bfloat16"},
	"float16":     {toFloat16, "nearest number of float16"},
}

// binary holds the elementwise functions of two operands, which are broadcast.
var binary = map[string]struct {
	of   func(x, y float64) float64
	does string
}{
	"add":        {func(x, y float64) float64 { return x + y }, "x + y"},
	"sub":        {func(x, y float64) float64 { return x - y }, "x - y"},
	"mul":        {func(x, y float64) float64 { return x * y }, "x y"},
	"div":        {func(x, y float64) float64 { return x / y }, "x / y"},
	"pow":        {math.Pow, "x to the power y"},
	"atan2":      {math.Atan2, "angle of (y, x)"},
	"maximum":    {func(x, y float64) float64 { return max(x, y) }, "the larger"},
	"minimum":    {func(x, y float64) float64 { return min(x, y) }, "the smaller"},
	"leaky_relu": {leakyReLU, "x above 0, y x below"},
	"elu":        {elu, "x above 0, y (e^x - 1) below"},
}

// logical holds the functions of two broadcast operands whose result is of booleans.
var logical = map[string]struct {
	of   func(x, y float64) bool
	does string
}{
	"eq":          {func(x, y float64) bool { return x == y }, "whether x = y"},
	"ne":          {func(x, y float64) bool { return x != y }, "whether x and y differ"},
	"lt":          {func(x, y float64) bool { return x < y }, "whether x < y"},
	"le":          {func(x, y float64) bool { return x <= y }, "whether x <= y"},
	"gt":          {func(x, y float64) bool { return x > y }, "whether x > y"},
	"ge":          {func(x, y float64) bool { return x >= y }, "whether x >= y"},
	"logical_and": {func(x, y float64) bool { return x != 0 && y != 0 }, "whether neither is 0"},
	"logical_or":  {func(x, y float64) bool { return x != 0 || y != 0 }, "whether one is not 0"},
}
