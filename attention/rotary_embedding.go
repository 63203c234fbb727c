package attention

import (
	"errors"
	"fmt"
	"slices"
)

// RotaryInputs are the tensors of [RotaryEmbedding].
type RotaryInputs struct {
	// Input is (B, H, T, E), or (B, T, H*E) with [RotaryOptions.NumHeads].
	Input *Tensor
	// Cos and Sin are (N, Dim/2), the cosine and sine of each pair at each of N positions. Without
	// Positions they are (B, T, Dim/2), a row for each token.
	Cos, Sin *Tensor
	// Positions (B, T) holds the position of each token, a row of Cos and Sin. nil means that each
	// token has a row of its own.
	Positions [][]int
}

// RotaryOptions are the attributes of [RotaryEmbedding]. The zero value rotates halves of whole
// heads of an input (B, H, T, E).
type RotaryOptions struct {
	// Style selects the features of a pair: interleaved, in ONNX.
	Style RoPEStyle
	// Dim is the number of features of a head, from the first on, that turn: rotary_embedding_dim,
	// in ONNX. 0 means E.
	Dim int
	// NumHeads is H of an input (B, T, H*E), and 0 for an input (B, H, T, E): num_heads, in ONNX.
	NumHeads int
}

// RotaryEmbedding rotates pairs of features by given tables, as the operator RotaryEmbedding of
// ONNX (opset 23) and torch.onnx.ops.rotary_embedding do (PyTorch 2.15.0). Pair (a, b) becomes (a
// cos - b sin, b cos + a sin). The result has the shape of the input.
//
// The error names every tensor whose shape does not fit, and every position without a row.
func RotaryEmbedding(in RotaryInputs, o RotaryOptions) (*Tensor, error) {
	if err := CheckRotaryEmbedding(in, o); err != nil {
		return nil, err
	}
	s := o.sizes(in)
	out := in.Input.Clone()
	pairs := s.dim / 2
	for start := 0; start < len(out.Data); start += s.width {
		row := s.token(start)
		if in.Positions != nil {
			row = in.Positions[row/s.tokens][row%s.tokens]
		}
		cos, sin := in.Cos.Data[row*pairs:][:pairs], in.Sin.Data[row*pairs:][:pairs]
		rotatePairs(out.Data[start:][:s.dim], cos, sin, o.Style)
	}
	return out, nil
}

// rotatePairs rotates each pair of x in place by its cosine and sine.
func rotatePairs(x, cos, sin []float32, style RoPEStyle) {
	for i := range cos {
		first, second := i, i+len(cos)
		if style == Interleaved {
			first, second = 2*i, 2*i+1
		}
		a, b := float64(x[first]), float64(x[second])
		c, s := float64(cos[i]), float64(sin[i])
		x[first], x[second] = float32(a*c-b*s), float32(b*c+a*s)
	}
}

// rotarySizes are the sizes of an input of [RotaryEmbedding].
type rotarySizes struct {
	batch, heads, tokens, width, dim int
	merged                           bool // the heads of a token stand side by side
}

func (o RotaryOptions) sizes(in RotaryInputs) rotarySizes {
	shape, s := in.Input.Shape, rotarySizes{}
	if o.NumHeads > 0 {
		s = rotarySizes{shape[0], o.NumHeads, shape[1], shape[2] / o.NumHeads, o.Dim, true}
	} else {
		s = rotarySizes{shape[0], shape[1], shape[2], shape[3], o.Dim, false}
	}
	if s.dim == 0 {
		s.dim = s.width
	}
	return s
}

// token returns the index in (B, T) of the token whose head has an element of the input.
func (s rotarySizes) token(element int) int {
	head := element / s.width // in (B, H, T), or in (B, T, H)
	if s.merged {
		return head / s.heads
	}
	return head/(s.heads*s.tokens)*s.tokens + head%s.tokens
}

// CheckRotaryEmbedding returns the error of [RotaryEmbedding] on these arguments, without computing
// anything.
func CheckRotaryEmbedding(in RotaryInputs, o RotaryOptions) error {
	if err := in.Input.Check(); err != nil {
		return fmt.Errorf("input: %w", err)
	}
	dims, want := 4, "(B, H, T, E)"
	if o.NumHeads > 0 {
		dims, want = 3, fmt.Sprintf("(B, T, %d*E)", o.NumHeads)
	}
	shape := in.Input.Shape
	switch {
	case o.NumHeads < 0 || o.NumHeads > maxWidth:
		return fmt.Errorf("num heads %d, want 0 (B, H, T, E) or at most %d", o.NumHeads, maxWidth)
	case len(shape) != dims || slices.Contains(shape, 0) || o.NumHeads > 0 && shape[2]%o.NumHeads != 0:
		return fmt.Errorf("input: shape %s, want %s with no dimension 0", FormatShape(shape), want)
	}
	return o.sizes(in).check(in, o)
}

// check compares the options and the tables with the sizes of the input.
func (s rotarySizes) check(in RotaryInputs, o RotaryOptions) error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(o.Style < HalfSplit || o.Style > Interleaved, "unknown style %d", o.Style)
	refuse(s.dim < 2 || s.dim > s.width || s.dim%2 != 0,
		"dim %d, want an even number from 2 to the width %d of a head", s.dim, s.width)
	for _, table := range []struct {
		name string
		t    *Tensor
	}{{"cos", in.Cos}, {"sin", in.Sin}} {
		if err := table.t.Check(); err != nil {
			refuse(true, "%s: %w", table.name, err)
			continue
		}
		shape := table.t.Shape
		if in.Positions == nil {
			refuse(!slices.Equal(shape, []int{s.batch, s.tokens, s.dim / 2}),
				"%s: shape %s, want (B, T, dim/2) (%d, %d, %d) without positions",
				table.name, FormatShape(shape), s.batch, s.tokens, s.dim/2)
		} else {
			refuse(len(shape) != 2 || shape[1] != s.dim/2, "%s: shape %s, want (N, dim/2) (N, %d) with positions",
				table.name, FormatShape(shape), s.dim/2)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	refuse(in.Cos.Shape[0] != in.Sin.Shape[0], "cos: shape %s, sin has %s",
		FormatShape(in.Cos.Shape), FormatShape(in.Sin.Shape))
	refuse(in.Positions != nil && len(in.Positions) != s.batch,
		"positions: %d batch elements, want (B, T) (%d, %d)", len(in.Positions), s.batch, s.tokens)
	for b, row := range in.Positions {
		refuse(len(row) != s.tokens, "positions: %d tokens, want (B, T) (%d, %d)", len(row), s.batch, s.tokens)
		for t, position := range row {
			refuse(position < 0 || position >= in.Cos.Shape[0],
				"positions: token %d of batch element %d stands at %d, the tables have %d rows",
				t, b, position, in.Cos.Shape[0])
		}
	}
	return errors.Join(errs...)
}
