package fresh

import (
	"math"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/random"
)

// Initialisation tells how the weights of a layer are drawn.
type Initialisation int

// The initialisations.
const (
	Scoring      Initialisation = iota // scores have a standard deviation near 1
	TorchDefault                       // torch.nn.Linear's
	Xavier                             // torch.nn.init.xavier_normal_
	Small                              // N(0, 0.02²)
	Unit                               // N(0, 1)
)

// Std returns the standard deviation of a weight (out, in).
func Std(init Initialisation, in, out int, name string) float64 {
	linear := 1 / math.Sqrt(3*float64(in))
	switch init {
	case Scoring:
		if strings.Contains(name, "out") || strings.HasPrefix(name, "o_proj") || strings.HasPrefix(name, "v_") ||
			name == "W_V" || name == "W_O" {
			return linear
		}
		return 1 / math.Sqrt(float64(in))
	case Xavier:
		return math.Sqrt(2 / float64(in+out))
	case Small:
		return 0.02
	case Unit:
		return 1
	}
	return linear
}

// Fill draws a parameter. Biases are not zero, because zeros would hide every mistake in a bias.
func Fill(
	d random.Draw, t *attention.Tensor, name string, init Initialisation, layout attention.ParamLayout,
) {
	var size, mean float64
	switch {
	case strings.HasSuffix(name, "norm.weight"):
		size, mean = 0.3, 1
	case name == "sinks":
		size = 1
	case name == "relative_bias.weight":
		size = 0.5
	case name == "bias_k", name == "bias_v":
		size = Std(init, t.Shape[2], t.Shape[2], name) * math.Sqrt(float64(t.Shape[2]))
	case len(t.Shape) == 1:
		size = map[Initialisation]float64{Small: 0.02, Unit: 1}[init]
		if size == 0 {
			size = 0.1
		}
	default:
		in, out := t.Shape[1], t.Shape[0]
		if layout == attention.GPT2Layout { // (in, out)
			in, out = out, in
		}
		size = Std(init, in, out, name)
	}
	for i := range t.Data {
		t.Data[i] = float32(mean + size*d.NormFloat64())
	}
}
