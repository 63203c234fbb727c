package transformer

import (
	"fmt"
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
)

// LayerNorm normalizes the last dimension of x (..., D), as torch.nn.functional.layer_norm does
// (PyTorch 2.15.0):
//
//	(x - mean(x)) / sqrt(variance(x) + eps) * weight + bias
//
// weight and bias are (D). The variance is the mean square of the differences. The error names a
// tensor whose shape does not fit.
func LayerNorm(x, weight, bias *attention.Tensor, eps float64) (*attention.Tensor, error) {
	n := &norm{centered: true, weight: weight, bias: bias, eps: eps}
	if err := n.check(x); err != nil {
		return nil, err
	}
	return n.forward(x), nil
}

// RMSNorm normalizes the last dimension of x (..., D), as torch.nn.functional.rms_norm does
// (PyTorch 2.15.0):
//
//	x / sqrt(mean(x²) + eps) * weight
//
// weight is (D). The error names a tensor whose shape does not fit.
func RMSNorm(x, weight *attention.Tensor, eps float64) (*attention.Tensor, error) {
	n := &norm{weight: weight, eps: eps}
	if err := n.check(x); err != nil {
		return nil, err
	}
	return n.forward(x), nil
}

// NormConfig describes a norm with parameters of its own.
type NormConfig struct {
	// Kind selects the function. The zero value is LayerNormKind.
	Kind NormKind
	// HiddenSize is D, the size of the last dimension.
	HiddenSize int
	// Eps is added to the variance or to the mean square.
	Eps float64
}

// NormKind selects the function of a norm.
type NormKind int

const (
	// LayerNormKind is torch.nn.LayerNorm, with the parameters weight (D) and bias (D).
	LayerNormKind NormKind = iota
	// RMSNormKind is torch.nn.RMSNorm, and LlamaRMSNorm, with the parameter weight (D).
	RMSNormKind
	// GemmaNormKind is GemmaRMSNorm, an RMSNorm whose parameter weight (D) is stored less 1.
	GemmaNormKind
)

// NewNorm returns a norm whose parameters are zeros. The error lists every field that cannot be.
func NewNorm(c NormConfig) (*Block, error) {
	var r refusals
	r.refuse(c.Kind < LayerNormKind || c.Kind > GemmaNormKind, "unknown kind of norm %d", c.Kind)
	r.width("hidden size", c.HiddenSize)
	r.epsilon("eps", c.Eps)
	if err := r.err(); err != nil {
		return nil, err
	}
	s := &state{class: "Norm"}
	made := map[NormKind]func() *norm{
		LayerNormKind: func() *norm { return scope{state: s}.layerNorm(c.HiddenSize, c.Eps) },
		RMSNormKind:   func() *norm { return scope{state: s}.rmsNorm(c.HiddenSize, c.Eps, 0) },
		GemmaNormKind: func() *norm { return scope{state: s}.rmsNorm(c.HiddenSize, c.Eps, 1) },
	}[c.Kind]()
	return &Block{state: s, width: c.HiddenSize, part: made}, nil
}

// norm is a LayerNorm if centered, an RMSNorm otherwise.
type norm struct {
	centered     bool
	weight, bias *attention.Tensor // (D); bias is nil for none
	offset       float64           // added to the weight: 1 in Gemma, which stores it less 1
	eps          float64
}

// check returns an error unless x is (..., D) and weight and bias are (D).
func (n *norm) check(x *attention.Tensor) error {
	if err := x.Check(); err != nil {
		return fmt.Errorf("input: %w", err)
	}
	if len(x.Shape) == 0 || slices.Contains(x.Shape, 0) {
		return fmt.Errorf("input: shape %s, want one dimension or more, none of them 0",
			attention.FormatShape(x.Shape))
	}
	want := x.Shape[len(x.Shape)-1:]
	if err := checkShape("weight", n.weight, want); err != nil {
		return err
	}
	if n.centered {
		return checkShape("bias", n.bias, want)
	}
	return nil
}

// forward normalizes each row of x (..., D). A nil norm returns x itself.
func (n *norm) forward(x *attention.Tensor) *attention.Tensor {
	if n == nil {
		return x
	}
	y := attention.NewTensor(x.Shape...)
	d := len(n.weight.Data)
	for at := 0; at < len(x.Data); at += d {
		n.row(x.Data[at:][:d], y.Data[at:][:d])
	}
	return y
}

// row normalizes x (D) into y (D).
func (n *norm) row(x, y []float32) {
	d := float64(len(x))

	// 1. The mean, 0 in an RMSNorm.
	mean := 0.0
	if n.centered {
		for _, v := range x {
			mean += float64(v) / d
		}
	}

	// 2. The mean square of the differences.
	square := 0.0
	for _, v := range x {
		square += (float64(v) - mean) * (float64(v) - mean) / d
	}

	// 3. Scale and shift.
	inverse := 1 / math.Sqrt(square+n.eps)
	for i, v := range x {
		scaled := (float64(v) - mean) * inverse * (float64(n.weight.Data[i]) + n.offset)
		if n.bias != nil {
			scaled += float64(n.bias.Data[i])
		}
		y[i] = float32(scaled)
	}
}

// checkShape returns an error unless t is a tensor of a shape.
func checkShape(name string, t *attention.Tensor, want []int) error {
	if err := t.Check(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !slices.Equal(t.Shape, want) {
		return fmt.Errorf("%s: shape %s, want %s", name,
			attention.FormatShape(t.Shape), attention.FormatShape(want))
	}
	return nil
}
