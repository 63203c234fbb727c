package transformer

import (
	"math"

	"github.com/difftest/difftest/attention"
)

// Activation is the function between the linear layers of an MLP, under its name in Hugging Face's
// configurations: hidden_act, hidden_activation or activation_function. There is no default.
type Activation string

const (
	// GELU is x * Phi(x) with the normal distribution's Phi: torch.nn.GELU().
	GELU Activation = "gelu"
	// GELUTanh approximates Phi by a tanh: torch.nn.GELU(approximate="tanh").
	GELUTanh Activation = "gelu_pytorch_tanh"
	// GELUNew is GELUTanh, as GPT-2 calls it.
	GELUNew Activation = "gelu_new"
	// SiLU is x * sigmoid(x): torch.nn.SiLU().
	SiLU Activation = "silu"
	// Swish is another name of SiLU.
	Swish Activation = "swish"
	// ReLU is max(x, 0): torch.nn.ReLU().
	ReLU Activation = "relu"
)

var activations = map[Activation]func(float64) float64{
	GELU:     gelu,
	GELUTanh: geluTanh,
	GELUNew:  geluTanh,
	SiLU:     silu,
	Swish:    silu,
	ReLU:     func(x float64) float64 { return max(x, 0) },
}

// Apply returns the activation of every element of x. Apply panics if the activation is unknown.
func (a Activation) Apply(x *attention.Tensor) *attention.Tensor {
	f, y := activations[a], attention.NewTensor(x.Shape...)
	for i, v := range x.Data {
		y.Data[i] = float32(f(float64(v)))
	}
	return y
}

func gelu(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) }

func geluTanh(x float64) float64 {
	return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

func silu(x float64) float64 { return x * sigmoid(x) }

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
