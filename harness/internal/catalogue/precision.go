package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// precisions are computations of fewer bits than float32's. They are no mistakes where they are declared.
var precisions = []Mistake{
	{
		ID:          "precision-float16",
		Title:       "the arithmetic of float16",
		Explanation: "Inputs, parameters and every stored result are rounded to the 11 bits of float16.",
		Fix:         "Compute in float32, or declare that the subject computes in float16.",
		Family:      Precision,
		Kind:        Rounded,
		Stage:       Projection,
		Needs:       "a float32 case",
		Refs:        []string{"J02"},
		Evidence:    "https://github.com/NVIDIA/apex/issues/93",
		Lower:       &oracle.Float16,
		Plant:       lower(oracle.Float16),
	},
	{
		ID:          "precision-bfloat16",
		Title:       "the arithmetic of bfloat16",
		Explanation: "Inputs, parameters and every stored result are rounded to the 8 bits of bfloat16.",
		Fix:         "Compute in float32, or declare that the subject computes in bfloat16.",
		Family:      Precision,
		Kind:        Rounded,
		Stage:       Projection,
		Needs:       "a float32 case",
		Refs:        []string{"J03"},
		Evidence:    "https://github.com/NVIDIA/TransformerEngine/issues/1245",
		Lower:       &oracle.BFloat16,
		Plant:       lower(oracle.BFloat16),
	},
	{
		ID:          "precision-tf32",
		Title:       "matrix products in TensorFloat-32",
		Explanation: "Tensor cores round the factors of every matrix product to 11 bits, unless told not to.",
		Fix: "Declare that the subject uses TensorFloat-32, or turn it off. " +
			"PyTorch's switch is torch.backends.cuda.matmul.allow_tf32.",
		Family: Precision,
		Kind:   Rounded,
		Stage:  Projection,
		Needs:  "a float32 case",
		Lower:  &oracle.TensorFloat32,
		Plant:  lower(oracle.TensorFloat32),
	},
	{
		ID:          "weights-float16",
		Title:       "parameters rounded to float16",
		Explanation: "The parameters passed through float16. The arithmetic is float32.",
		Fix:         "Store and load the parameters as float32.",
		Family:      Precision,
		Kind:        Rounded,
		Stage:       Projection,
		Needs:       "a layer",
		Refs:        []string{"J05"},
		Plant:       learnedAs(oracle.Float16.Round),
	},
	{
		ID:          "weights-bfloat16",
		Title:       "parameters rounded to bfloat16",
		Explanation: "The parameters passed through bfloat16. The arithmetic is float32.",
		Fix:         "Store and load the parameters as float32.",
		Family:      Precision,
		Kind:        Rounded,
		Stage:       Projection,
		Needs:       "a layer",
		Plant:       learnedAs(oracle.BFloat16.Round),
	},
	{
		ID:    "weights-int8",
		Title: "int8 weights with one scale per output feature",
		Explanation: "Each row of the four weights is rounded to 127 steps on either side of zero. " +
			"Biases are not rounded.",
		Fix:    "Test with the weights before they are quantised.",
		Family: Precision,
		Kind:   Rounded,
		Stage:  Projection,
		Needs:  "a layer",
		Plant:  quantised(func(m *oracle.Linear) int { return m.In }),
	},
	{
		ID:          "weights-int8-per-tensor",
		Title:       "int8 weights with one scale per weight tensor",
		Explanation: "Each of the four weights is rounded to 127 steps on either side of zero. Biases are not rounded.",
		Fix:         "Test with the weights before they are quantised.",
		Family:      Precision,
		Kind:        Rounded,
		Stage:       Projection,
		Needs:       "a layer",
		Plant:       quantised(func(m *oracle.Linear) int { return len(m.Weight) }),
	},
	{
		ID:          "output-float16",
		Title:       "the output rounded to float16",
		Explanation: "The arithmetic is float32, but the result passed through float16.",
		Fix:         "Return and save the output as float32.",
		Family:      Precision,
		Kind:        Rounded,
		Stage:       Score,
		Needs:       "a float32 case",
		Plant:       storedAs(oracle.Float16),
	},
	{
		ID:          "output-bfloat16",
		Title:       "the output rounded to bfloat16",
		Explanation: "The arithmetic is float32, but the result passed through bfloat16.",
		Fix:         "Return and save the output as float32.",
		Family:      Precision,
		Kind:        Rounded,
		Stage:       Score,
		Needs:       "a float32 case",
		Refs:        []string{"J08"},
		Plant:       storedAs(oracle.BFloat16),
	},
}

// lower rounds what a subject of that precision is given, which part of its errors is known, and has its
// noise.
func lower(precision oracle.Precision) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.Precision.Rounds() {
			return false
		}
		*p = *p.Rounded(precision, oracle.Inputs|oracle.Parameters)
		return true
	}
}

func learnedAs(round func(float64) float64) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		return eachParameter(p, func(values []float64) {
			for i, v := range values {
				values[i] = round(v)
			}
		})
	}
}

// quantised rounds so many weights after another to the multiples of a 127th of the largest of them.
func quantised(together func(*oracle.Linear) int) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.Layer == nil {
			return false
		}
		for _, m := range p.Layer.Linears() {
			m.Weight = slices.Clone(m.Weight)
			for weights := range slices.Chunk(m.Weight, together(m)) {
				step := largest(weights) / 127
				for i, w := range weights {
					if step > 0 {
						weights[i] = step * math.RoundToEven(w/step)
					}
				}
			}
		}
		return true
	}
}

func largest(values []float64) float64 {
	most := 0.0
	for _, v := range values {
		most = math.Max(most, math.Abs(v))
	}
	return most
}

func storedAs(precision oracle.Precision) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.Precision.Rounds() {
			return false
		}
		p.Stored = &precision
		return true
	}
}
