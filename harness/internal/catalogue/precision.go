package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// precision holds computations at a lower precision than float32. They are mistakes only if the
// subject does not declare its precision.
var precision = []Mistake{
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
		OnTables:    true,
		Plant:       arithmeticOf(oracle.Float16),
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
		OnTables:    true,
		Plant:       arithmeticOf(oracle.BFloat16),
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
		Plant:  arithmeticOf(oracle.TensorFloat32),
	},
	{
		ID:    "precision-bfloat16-factors",
		Title: "matrix products with factors of bfloat16",
		Explanation: "The factors of every matrix product are rounded to the 8 bits of bfloat16. " +
			"Sums and all other results are float32.",
		Fix: "Ask for products in float32. " +
			"In PyTorch, torch.set_float32_matmul_precision(\"medium\") rounds the factors.",
		Family: Precision,
		Kind:   Rounded,
		Stage:  Projection,
		Needs:  "a float32 case",
		Lower:  &oracle.BFloat16Factors,
		Plant:  arithmeticOf(oracle.BFloat16Factors),
	},
	{
		ID:    "precision-tf32-truncated",
		Title: "matrix products in TensorFloat-32, truncated",
		Explanation: "The factors of every matrix product lose their last 13 bits instead of being rounded. " +
			"Tensor cores do so to float32 that was not converted.",
		Fix: "Convert the factors, for example by cvt.rna.tf32.f32, or multiply in float32. " +
			"Truncation doubles the largest error and makes all factors smaller.",
		Family: Precision,
		Kind:   Rounded,
		Stage:  Projection,
		Needs:  "a float32 case",
		Lower:  &oracle.TruncatedTensorFloat32,
		Plant:  arithmeticOf(oracle.TruncatedTensorFloat32),
	},
	{
		ID:          "precision-bfloat16-truncated",
		Title:       "the arithmetic of bfloat16, truncated",
		Explanation: "Inputs, parameters and every stored result lose their last 16 bits instead of being rounded.",
		Fix:         "Round to the nearest bfloat16 when a float32 is stored, ties to even.",
		Family:      Precision,
		Kind:        Rounded,
		Stage:       Projection,
		Needs:       "a float32 case",
		Lower:       &oracle.TruncatedBFloat16,
		Plant:       arithmeticOf(oracle.TruncatedBFloat16),
	},
	{
		ID:          "precision-bfloat16-factors-truncated",
		Title:       "matrix products with factors of bfloat16, truncated",
		Explanation: "The factors of every matrix product lose their last 16 bits instead of being rounded.",
		Fix:         "Round the factors to the nearest bfloat16, ties to even, or multiply in float32.",
		Family:      Precision,
		Kind:        Rounded,
		Stage:       Projection,
		Needs:       "a float32 case",
		Lower:       &oracle.TruncatedBFloat16Factors,
		Plant:       arithmeticOf(oracle.TruncatedBFloat16Factors),
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
		Plant:       roundParameters(oracle.Float16.Round),
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
		Plant:       roundParameters(oracle.BFloat16.Round),
	},
	{
		ID:          "weights-bfloat16-truncated",
		Title:       "parameters truncated to bfloat16",
		Explanation: "The last 16 bits of each parameter were dropped instead of rounded. The arithmetic is float32.",
		Fix:         "Store and load the parameters as float32, or round them to the nearest bfloat16.",
		Family:      Precision,
		Kind:        Rounded,
		Stage:       Projection,
		Needs:       "a layer",
		Plant:       roundParameters(oracle.TruncatedBFloat16.Round),
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
		Plant:  quantiseWeights(func(m *oracle.Linear) int { return m.In }),
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
		Plant:       quantiseWeights(func(m *oracle.Linear) int { return len(m.Weight) }),
	},
	{
		ID:    "cache-fp8-e4m3",
		Title: "cached keys and values rounded to fp8 (e4m3)",
		Explanation: "The KV cache holds numbers of 4 significant bits, with a scale of 1. " +
			"Keys and values of this call are not rounded.",
		Fix:    "Test with a cache of float32, or declare the precision fp8-e4m3-cache.",
		Family: Precision,
		Kind:   Rounded,
		Stage:  Projection,
		Needs:  "a cache",
		Plant:  roundCache(oracle.ToE4M3),
	},
	{
		ID:    "cache-fp8-e5m2",
		Title: "cached keys and values rounded to fp8 (e5m2)",
		Explanation: "The KV cache holds numbers of 3 significant bits, with a scale of 1. " +
			"Keys and values of this call are not rounded.",
		Fix:    "Test with a cache of float32, or declare the precision fp8-e5m2-cache.",
		Family: Precision,
		Kind:   Rounded,
		Stage:  Projection,
		Needs:  "a cache",
		Plant:  roundCache(oracle.ToE5M2),
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
		OnTables:    true,
		Plant:       roundOutput(oracle.Float16),
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
		OnTables:    true,
		Plant:       roundOutput(oracle.BFloat16),
	},
	{
		ID:          "output-bfloat16-truncated",
		Title:       "the output truncated to bfloat16",
		Explanation: "The arithmetic is float32, but the last 16 bits of the result were dropped.",
		Fix:         "Return and save the output as float32, or round it to the nearest bfloat16.",
		Family:      Precision,
		Kind:        Rounded,
		Stage:       Score,
		Needs:       "a float32 case",
		Plant:       roundOutput(oracle.TruncatedBFloat16),
	},
}

// arithmeticOf computes at a lower precision. Rounded inputs and parameters are the known part of
// its errors; the noise of the lower precision covers all other roundings.
func arithmeticOf(lower oracle.Precision) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.Precision.Rounds() {
			return false
		}
		*p = *p.Rounded(lower, oracle.Inputs|oracle.Parameters)
		return true
	}
}

func roundParameters(round func(float64) float64) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		return changeParameters(p, func(wrong, right []float64) {
			for i, v := range right {
				wrong[i] = round(v)
			}
		})
	}
}

// roundCache rounds cached keys and values.
func roundCache(round func(float64) float64) plant {
	rounded := func(a oracle.Array) oracle.Array {
		values := make([]float64, len(a.Value))
		for i, v := range a.Value {
			values[i] = round(v)
		}
		return oracle.Array{Shape: a.Shape, Value: values}
	}
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.Past == nil {
			return false
		}
		p.Past = &oracle.Past{Key: rounded(p.Past.Key), Value: rounded(p.Past.Value)}
		return true
	}
}

// quantiseWeights rounds weights to int8. Each group of groupSize neighbouring values shares a
// scale, 1/127 of the largest magnitude among them.
func quantiseWeights(groupSize func(*oracle.Linear) int) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.Layer == nil {
			return false
		}
		for _, m := range p.Layer.Projections() {
			m.Weight = p.BorrowCopy(m.Weight)
			for group := range slices.Chunk(m.Weight, groupSize(m)) {
				step := maxAbs(group) / 127
				for i, w := range group {
					if step > 0 {
						group[i] = step * math.RoundToEven(w/step)
					}
				}
			}
		}
		return true
	}
}

func maxAbs(values []float64) float64 {
	largest := 0.0
	for _, v := range values {
		if a := math.Abs(v); a > largest {
			largest = a
		}
	}
	return largest
}

func roundOutput(lower oracle.Precision) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.Precision.Rounds() {
			return false
		}
		p.Stored = &lower
		return true
	}
}
