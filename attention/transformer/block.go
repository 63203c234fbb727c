package transformer

import (
	"fmt"
	"slices"

	"github.com/difftest/difftest/attention"
)

// Block is one part of a layer on its own: a norm, an MLP or experts. [NewNorm], [NewMLP] and
// [NewExperts] make one.
type Block struct {
	*state
	width int
	part  part
}

// part maps the last dimension of its input: (..., D) -> (..., D).
type part interface {
	forward(x *attention.Tensor) *attention.Tensor
}

// Forward computes the block: (..., D) -> (..., D). The error tells that the shape does not fit.
func (b *Block) Forward(x *attention.Tensor) (*attention.Tensor, error) {
	if err := x.Check(); err != nil {
		return nil, fmt.Errorf("input: %w", err)
	}
	if n := len(x.Shape); n == 0 || x.Shape[n-1] != b.width || slices.Contains(x.Shape, 0) {
		return nil, fmt.Errorf("input: shape %s, want (..., %d) with no dimension 0",
			attention.FormatShape(x.Shape), b.width)
	}
	return b.part.forward(x), nil
}
