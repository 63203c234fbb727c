package transformer

import (
	"errors"
	"fmt"

	"github.com/difftest/difftest/attention"
)

// Model is a whole model: token ids in, logits or hidden states out. Its [Config] selects the
// family.
//
// Forward may run in several goroutines at once, but not during LoadStateDict. The zero Model is
// not usable: call [New].
type Model struct {
	*state
	embeddings *embeddings
	layers     []*layer
	norm       *norm // behind the last layer, nil for none
	head       *head // nil for none: hidden states are the output
}

// Inputs are the arguments of [Model.Forward] by their names in transformers.
type Inputs struct {
	// InputIDs (B, T) holds the tokens, 0 to V-1: input_ids.
	InputIDs [][]int
	// AttentionMask (B, T) is 0 for padding, which no token sees, and another number for tokens
	// that take part: attention_mask. nil means no padding. Positions count padding, too.
	AttentionMask [][]int
	// TokenTypeIDs (B, T) holds the type of each token, in BERT alone: token_type_ids. nil means
	// type 0.
	TokenTypeIDs [][]int
}

// New returns a model whose parameters are zeros until LoadStateDict fills them. The error is the
// one of the configuration's Check.
func New(c Config) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	return c.build(), nil
}

// Forward computes the model in eval mode: the logits (B, T, V), or the last hidden states
// (B, T, D) of a model without a head.
//
// The output of a padded token is defined, but not the same in all of PyTorch's implementations of
// attention where the token sees no other. Here its attention is zero.
//
// The error names an input whose shape does not fit, and a token without a row.
func (m *Model) Forward(in Inputs) (*attention.Tensor, error) {
	if err := m.check(in); err != nil {
		return nil, err
	}
	padding := in.padding()

	// 1. Look up the tokens, and scale their vectors.
	x := m.embeddings.lookUp(in.InputIDs) // (B, T) -> (B, T, D)

	// 2. Add token types and positions, and normalize.
	x = m.embeddings.place(x, in.TokenTypeIDs)

	for _, l := range m.layers {
		// 3. Attend, inside a sum.
		x = l.attention.forward(x, func(a *selfAttention, x *attention.Tensor) *attention.Tensor {
			return a.forward(x, padding)
		})

		// 4. MLP or experts, inside a sum.
		x = l.mlp.forward(x, part.forward)
	}

	// 5. Normalize the last hidden states.
	x = m.norm.forward(x)
	if m.head == nil {
		return x, nil
	}

	// 6. Project to logits.
	logits := m.head.linear.forward(x) // (B, T, D) -> (B, T, V)

	// 7. Cap the logits.
	m.head.cap(logits)
	return logits, nil
}

// check returns an error unless the inputs fit one another and the tables.
func (m *Model) check(in Inputs) error {
	if m.state == nil {
		return errors.New("the model was not made by New")
	}
	if len(in.InputIDs) == 0 || len(in.InputIDs[0]) == 0 {
		return errors.New("input_ids: no tokens")
	}
	batch, tokens := len(in.InputIDs), len(in.InputIDs[0])
	errs := []error{m.embeddings.tokens.check("input_ids", in.InputIDs, batch, tokens)}
	if in.AttentionMask != nil {
		errs = append(errs, checkRows("attention_mask", in.AttentionMask, batch, tokens))
	}
	switch types := m.embeddings.types; {
	case in.TokenTypeIDs == nil:
	case types == nil:
		errs = append(errs, errors.New("token_type_ids: the model has no token types"))
	default:
		errs = append(errs, types.check("token_type_ids", in.TokenTypeIDs, batch, tokens))
	}
	if p := m.embeddings.positions; p != nil && tokens > p.table.Shape[0] {
		errs = append(errs, fmt.Errorf("input_ids: %d tokens, want at most %d, the learned positions",
			tokens, p.table.Shape[0]))
	}
	return errors.Join(errs...)
}

// padding returns the mask (B, T) that is true for padding, nil for none.
func (in Inputs) padding() *attention.Mask {
	if in.AttentionMask == nil {
		return nil
	}
	tokens := len(in.InputIDs[0])
	mask := attention.NewMask(len(in.InputIDs), tokens)
	for b, row := range in.AttentionMask {
		for t, v := range row {
			mask.Data[b*tokens+t] = v == 0
		}
	}
	return mask
}
