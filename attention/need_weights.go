package attention

// NeedWeights selects the attention weights that [MultiHead.Forward] returns beside its output: the
// arguments need_weights and average_attn_weights of torch.nn.MultiheadAttention's forward.
type NeedWeights int

const (
	// NoWeights returns none: need_weights=False. PyTorch's default is AveragedWeights.
	NoWeights NeedWeights = iota
	// AveragedWeights returns the mean over the heads, (B, L, S): need_weights=True,
	// average_attn_weights=True.
	AveragedWeights
	// WeightsPerHead returns the weights of every head, (B, H, L, S): need_weights=True,
	// average_attn_weights=False.
	WeightsPerHead
)

// returnedWeights converts the weights (B, H, L, S) of a call to the weights that the configuration
// asks for, nil for none.
func (c Config) returnedWeights(weights *Tensor) *Tensor {
	if c.NeedWeights == AveragedWeights {
		weights = averageHeads(weights)
	}
	if weights != nil && c.InputLayout == Unbatched {
		weights.Shape = weights.Shape[1:]
	}
	return weights
}
