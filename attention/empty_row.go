package attention

import "math"

// EmptyRow selects the result for a query that masks and positions allow no key at all. PyTorch's
// two interfaces differ there, and nn.MultiheadAttention differs between its modes.
type EmptyRow int

const (
	// EmptyZero gives a context and weights of zeros, so that a layer returns its output bias, as
	// torch.nn.functional.scaled_dot_product_attention does (PyTorch 2.15.0). In train mode with
	// need_weights=False, nn.MultiheadAttention calls that function and does the same.
	EmptyZero EmptyRow = iota
	// EmptyNaN gives NaN, as nn.MultiheadAttention does in eval mode or with need_weights=True.
	EmptyNaN
)

// fill overwrites the context or the weights of a query that sees no key.
func (e EmptyRow) fill(values []float32) {
	with := float32(0)
	if e == EmptyNaN {
		with = float32(math.NaN())
	}
	fill(values, with)
}
