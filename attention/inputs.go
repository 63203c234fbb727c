package attention

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Inputs are the arguments of [MultiHead.Forward]. Shapes are given for [BatchFirst]; query, key
// and value change with the [InputLayout]. No dimension of them may be 0.
type Inputs struct {
	// Query is (B, L, D).
	Query *Tensor
	// Key is (B, S-P, KDim) and Value is (B, S-P, VDim): the new tokens, without cached ones. In
	// self-attention, both are the query.
	Key, Value *Tensor

	// Block hides keys from queries, (L, S) or (B*H, L, S): a boolean attn_mask of
	// nn.MultiheadAttention. True is ignored, false takes part. nil hides none.
	Block *Mask
	// Padding hides keys from all queries, (B, S): key_padding_mask of nn.MultiheadAttention. True
	// is ignored, false takes part. nil hides none.
	Padding *Mask
	// Bias is added to the scores, (L, S) or (B*H, L, S): a float attn_mask of
	// nn.MultiheadAttention. nil adds nothing.
	Bias *Tensor

	// PastKey and PastValue are the KV cache, (B, Hk, P, E): the keys and values of earlier tokens,
	// after QKNorm and RoPE. The new ones are appended behind. nil, for both, is an empty cache.
	PastKey, PastValue *Tensor
}

// Outputs are the results of [MultiHead.Forward].
type Outputs struct {
	// Output is (B, L, D) for [BatchFirst], and changes with the [InputLayout].
	Output *Tensor
	// Weights are the attention weights that [Config.NeedWeights] asks for, nil for none. Keys
	// that BiasKV and ZeroAttn append count in S.
	Weights *Tensor
}

// CheckInputs returns the error of [MultiHead.Forward] on these inputs, without computing anything.
// The error names every input whose shape does not fit the configuration or another input. The
// configuration must pass [Config.Check].
func (c Config) CheckInputs(in Inputs) error {
	c = c.withDefaults()
	var errs []error
	for _, input := range []struct {
		name    string
		t       *Tensor
		letters string
		width   int
	}{
		{"query", in.Query, c.InputLayout.letters("L"), c.EmbedDim},
		{"key", in.Key, c.InputLayout.letters("S"), c.KDim},
		{"value", in.Value, c.InputLayout.letters("S"), c.VDim},
	} {
		if err := input.t.Check(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", input.name, err))
			continue
		}
		shape, dims := input.t.Shape, len(c.InputLayout.shape(0, 0, 0))
		if len(shape) != dims || shape[dims-1] != input.width || slices.Contains(shape, 0) {
			errs = append(errs, fmt.Errorf("%s: shape %s, want (%s, %d) with no dimension 0",
				input.name, FormatShape(shape), input.letters, input.width))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return c.checkTogether(in)
}

// checkTogether compares the shapes of the inputs with one another.
func (c Config) checkTogether(in Inputs) error {
	s, letters := c.sizes(in), "("+c.InputLayout.letters("S")+", "
	check := shapeCheck{}
	check.shape("key", in.Key.Shape, wanted{letters + "kdim)", c.InputLayout.shape(s.batch, s.fresh, c.KDim)})
	check.shape("value", in.Value.Shape, wanted{letters + "vdim)", c.InputLayout.shape(s.batch, s.fresh, c.VDim)})

	if (in.PastKey == nil) != (in.PastValue == nil) {
		check.errs = append(check.errs, errors.New("past_key and past_value go together"))
	}
	past := wanted{"(B, Hk, P, E)", []int{s.batch, c.NumKVHeads, s.cached, c.HeadDim}}
	check.tensor("past_key", in.PastKey, past)
	check.tensor("past_value", in.PastValue, past)
	if s.cached > 0 && c.appendedKeys() > 0 {
		check.errs = append(check.errs, errors.New("past_key: not together with bias kv or zero attn"))
	}

	common := wanted{"(L, S)", []int{s.queries, s.keys()}}
	perHead := wanted{"(B*H, L, S)", []int{s.batch * c.NumHeads, s.queries, s.keys()}}
	check.mask("block", in.Block, common, perHead)
	check.tensor("bias", in.Bias, common, perHead)
	padding := wanted{"(B, S)", []int{s.batch, s.keys()}}
	if c.InputLayout == Unbatched {
		padding = wanted{"(S)", []int{s.keys()}}
	}
	check.mask("padding", in.Padding, padding)
	return errors.Join(check.errs...)
}

// sizes are the sizes of one call: B, L, the number of new keys, and P.
type sizes struct{ batch, queries, fresh, cached int }

// keys returns S, the number of keys that masks count.
func (s sizes) keys() int { return s.cached + s.fresh }

// sizes reads the sizes from inputs of the right number of dimensions.
func (c Config) sizes(in Inputs) sizes {
	s := sizes{}
	s.batch, s.queries = c.InputLayout.sizes(in.Query.Shape)
	_, s.fresh = c.InputLayout.sizes(in.Key.Shape)
	if in.PastKey != nil && len(in.PastKey.Shape) == 4 {
		s.cached = in.PastKey.Shape[2]
	}
	return s
}

// allow merges Block and Padding into one mask, (B, H, L, S+A), in which true takes part. The A
// appended keys always do. The mask is nil if there is neither Block nor Padding.
func (c Config) allow(in Inputs, s sizes) *Mask {
	if in.Block == nil && in.Padding == nil {
		return nil
	}
	keys := s.keys()
	wide := keys + c.appendedKeys()
	allow := NewMask(s.batch, c.NumHeads, s.queries, wide)
	for row := range s.batch * c.NumHeads * s.queries {
		batch := row / (c.NumHeads * s.queries)
		to := allow.Data[row*wide:][:wide]
		for j := range to {
			if j < keys {
				// A Block (L, S) repeats for every batch element and head.
				blocked := in.Block != nil && in.Block.Data[row*keys%len(in.Block.Data)+j]
				padded := in.Padding != nil && in.Padding.Data[batch*keys+j]
				to[j] = !blocked && !padded
			} else {
				to[j] = true
			}
		}
	}
	return allow
}

// widenedBias adds zeros for the A appended keys to a Bias (L, S) or (B*H, L, S):
// -> (L, S+A) or (B, H, L, S+A).
func (c Config) widenedBias(bias *Tensor, s sizes) *Tensor {
	if bias == nil {
		return nil
	}
	keys := s.keys()
	wide := keys + c.appendedKeys()
	shape := []int{s.queries, wide}
	if len(bias.Shape) == 3 {
		shape = append([]int{s.batch, c.NumHeads}, shape...)
	}
	y := NewTensor(shape...)
	for row := range len(bias.Data) / keys {
		copy(y.Data[row*wide:], bias.Data[row*keys:][:keys])
	}
	return y
}

// wanted is a shape that an input may have, in letters and in numbers.
type wanted struct {
	letters string
	shape   []int
}

// shapeCheck collects an error for every input that has none of the wanted shapes. Inputs that are
// nil pass.
type shapeCheck struct{ errs []error }

func (s *shapeCheck) mask(name string, m *Mask, want ...wanted) {
	if m != nil {
		s.data(name, m.Check())
		s.shape(name, m.Shape, want...)
	}
}

func (s *shapeCheck) tensor(name string, t *Tensor, want ...wanted) {
	if t != nil {
		s.data(name, t.Check())
		s.shape(name, t.Shape, want...)
	}
}

func (s *shapeCheck) data(name string, err error) {
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("%s: %w", name, err))
	}
}

func (s *shapeCheck) shape(name string, shape []int, want ...wanted) {
	var words []string
	for _, w := range want {
		if slices.Equal(shape, w.shape) {
			return
		}
		words = append(words, w.letters+" "+FormatShape(w.shape))
	}
	s.errs = append(s.errs, fmt.Errorf("%s: shape %s, want %s", name, FormatShape(shape), strings.Join(words, " or ")))
}
