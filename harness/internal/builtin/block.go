package builtin

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/attention/transformer"
	"github.com/difftest/difftest/harness/internal/subject"
)

// block is a norm, an MLP or experts.
type block struct{ *transformer.Block }

// Forward computes the block of its one argument, a tensor. The error wraps [errors.ErrUnsupported]
// if there are other arguments.
func (b *block) Forward(a subject.Arguments) (*attention.Tensor, error) {
	if len(a.Tensors) != 1 || len(a.Masks)+len(a.Integers) > 0 {
		return nil, fmt.Errorf("%w: a norm, an MLP or experts with other arguments than one tensor",
			errors.ErrUnsupported)
	}
	for _, x := range a.Tensors {
		return b.Block.Forward(x)
	}
	return nil, nil
}

// norms maps classes to the kinds of norms.
var norms = map[string]transformer.NormKind{
	"LayerNorm": transformer.LayerNormKind, "RMSNorm": transformer.RMSNormKind,
	"LlamaRMSNorm": transformer.RMSNormKind, "MistralRMSNorm": transformer.RMSNormKind,
	"MixtralRMSNorm": transformer.RMSNormKind, "Glm4MoeRMSNorm": transformer.RMSNormKind,
	"Qwen2RMSNorm": transformer.RMSNormKind, "Qwen3RMSNorm": transformer.RMSNormKind,
	"Qwen2MoeRMSNorm": transformer.RMSNormKind, "Qwen3MoeRMSNorm": transformer.RMSNormKind,
	"GemmaRMSNorm": transformer.GemmaNormKind, "Gemma2RMSNorm": transformer.GemmaNormKind,
}

// newNorm makes a norm from the line that PyTorch prints of it.
func newNorm(kind transformer.NormKind, d subject.Description) (subject.Model, error) {
	size, eps, err := printedNorm(d.Structure)
	if err != nil {
		return nil, err
	}
	made, err := transformer.NewNorm(transformer.NormConfig{Kind: kind, HiddenSize: size, Eps: eps})
	return &block{made}, err
}

// printed is a norm as PyTorch prints it: "LayerNorm((24,), eps=1e-05, elementwise_affine=True)".
var printed = regexp.MustCompile(`^\w+\(\((\d+),\), eps=([0-9.e+-]+)(, elementwise_affine=True)?\)$`)

// printedNorm returns the width and the eps of a norm.
func printedNorm(structure []string) (size int, eps float64, err error) {
	var parts []string
	if len(structure) == 1 {
		parts = printed.FindStringSubmatch(structure[0])
	}
	if parts == nil {
		return 0, 0, fmt.Errorf("%w: a norm without one width, a number as its eps, or parameters",
			errors.ErrUnsupported)
	}
	size, err = strconv.Atoi(parts[1])
	if err != nil {
		return 0, 0, err
	}
	eps, err = strconv.ParseFloat(parts[2], 64)
	return size, eps, err
}
