package attention

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Inputs are the arguments of [MultiHead.Forward]. Shapes are those of [BatchFirst].
type Inputs struct {
	Query *Tensor // (B, L, D)
	Key   *Tensor // (B, S, KDim); the query itself in self-attention
	Value *Tensor // (B, S, VDim); the query itself in self-attention

	Block   *Mask   // (L, S) or (B*H, L, S), true is ignored: a boolean attn_mask. nil blocks nothing.
	Padding *Mask   // (B, S), true is ignored: key_padding_mask. nil ignores nothing.
	Bias    *Tensor // (L, S) or (B*H, L, S), added to the scores: a float attn_mask

	// PastKey and PastValue, (B, Hk, P, E), are a cache: keys and values of earlier positions,
	// normed and rotated as they were then. They come before the new ones, and S counts both in
	// the masks.
	PastKey, PastValue *Tensor
}

// Outputs are the results of [MultiHead.Forward].
type Outputs struct {
	Output  *Tensor // (B, L, D)
	Weights *Tensor // (B, L, S) or (B, H, L, S), where [Config.Weights] asks for them; S counts every key
}

// CheckInputs says what [MultiHead.Forward] would refuse: every shape that does not fit the
// configuration or another input.
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
		dims := len(c.InputLayout.shape(0, 0, 0))
		if err := input.t.Check(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", input.name, err))
		} else if shape := input.t.Shape; len(shape) != dims || shape[dims-1] != input.width || slices.Contains(shape, 0) {
			errs = append(errs, fmt.Errorf("%s: shape %s, want (%s, %d) with no dimension 0",
				input.name, FormatShape(shape), input.letters, input.width))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return c.checkTogether(in)
}

// checkTogether compares the inputs with one another.
func (c Config) checkTogether(in Inputs) error {
	s, memory := c.sizes(in), "("+c.InputLayout.letters("S")+", "
	fits := fitting{}
	fits.shape("key", in.Key.Shape, wanted{memory + "kdim)", c.InputLayout.shape(s.batch, s.fresh, c.KDim)})
	fits.shape("value", in.Value.Shape, wanted{memory + "vdim)", c.InputLayout.shape(s.batch, s.fresh, c.VDim)})
	if (in.PastKey == nil) != (in.PastValue == nil) {
		fits.errs = append(fits.errs, errors.New("past_key and past_value go together"))
	}
	past := wanted{"(B, Hk, P, E)", []int{s.batch, c.NumKVHeads, s.past, c.HeadDim}}
	fits.tensor("past_key", in.PastKey, past)
	fits.tensor("past_value", in.PastValue, past)
	if s.past > 0 && (c.BiasKV || c.ZeroAttn) {
		fits.errs = append(fits.errs, errors.New("past_key: not together with bias kv or zero attn"))
	}
	common := wanted{"(L, S)", []int{s.queries, s.keys()}}
	perHead := wanted{"(B*H, L, S)", []int{s.batch * c.NumHeads, s.queries, s.keys()}}
	fits.mask("block", in.Block, common, perHead)
	fits.tensor("bias", in.Bias, common, perHead)
	padding := wanted{"(B, S)", []int{s.batch, s.keys()}}
	if c.InputLayout == Unbatched {
		padding = wanted{"(S)", []int{s.keys()}}
	}
	fits.mask("padding", in.Padding, padding)
	return errors.Join(fits.errs...)
}

// sizes are those of one call.
type sizes struct{ batch, queries, fresh, past int }

// keys are all that masks count: those of the cache and the new ones.
func (s sizes) keys() int { return s.past + s.fresh }

// sizes must be given inputs of the right number of dimensions.
func (c Config) sizes(in Inputs) sizes {
	s := sizes{}
	s.batch, s.queries = c.InputLayout.of(in.Query.Shape)
	_, s.fresh = c.InputLayout.of(in.Key.Shape)
	if in.PastKey != nil && len(in.PastKey.Shape) == 4 {
		s.past = in.PastKey.Shape[2]
	}
	return s
}

// of gives batch and length of a shape.
func (o InputLayout) of(shape []int) (batch, length int) {
	switch o {
	case SequenceFirst:
		return shape[1], shape[0]
	case Unbatched:
		return 1, shape[0]
	}
	return shape[0], shape[1]
}

// shape is the reverse of [InputLayout.of].
func (o InputLayout) shape(batch, length, width int) []int {
	switch o {
	case SequenceFirst:
		return []int{length, batch, width}
	case Unbatched:
		return []int{length, width}
	}
	return []int{batch, length, width}
}

// letters name the dimensions before the width; length is L or S.
func (o InputLayout) letters(length string) string {
	return map[InputLayout]string{BatchFirst: "B, " + length, SequenceFirst: length + ", B", Unbatched: length}[o]
}

// wanted is a shape that an input must have, in letters and in numbers.
type wanted struct {
	letters string
	shape   []int
}

// fitting collects the inputs whose shapes are not what others make them.
type fitting struct{ errs []error }

func (f *fitting) mask(name string, m *Mask, want ...wanted) {
	if m != nil {
		f.data(name, m.Check())
		f.shape(name, m.Shape, want...)
	}
}

func (f *fitting) tensor(name string, t *Tensor, want ...wanted) {
	if t != nil {
		f.data(name, t.Check())
		f.shape(name, t.Shape, want...)
	}
}

func (f *fitting) data(name string, err error) {
	if err != nil {
		f.errs = append(f.errs, fmt.Errorf("%s: %w", name, err))
	}
}

// shape wants one of the shapes given.
func (f *fitting) shape(name string, shape []int, want ...wanted) {
	var words []string
	for _, w := range want {
		if slices.Equal(shape, w.shape) {
			return
		}
		words = append(words, w.letters+" "+FormatShape(w.shape))
	}
	f.errs = append(f.errs, fmt.Errorf("%s: shape %s, want %s", name, FormatShape(shape), strings.Join(words, " or ")))
}
