package num

import "math"

// Sigmoid returns 1 / (1 + exp(-x)): torch.sigmoid.
func Sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// SiLU returns x sigmoid(x): torch.nn.functional.silu.
func SiLU(x float64) float64 { return x * Sigmoid(x) }

// GELU returns x times the normal distribution of x: torch.nn.functional.gelu.
func GELU(x float64) float64 { return x / 2 * (1 + erf(x/math.Sqrt2)) }

// GELUTanh returns the approximation of GELU by tanh: torch.nn.functional.gelu(x,
// approximate="tanh").
func GELUTanh(x float64) float64 {
	return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}
