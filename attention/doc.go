// Package attention computes scaled dot-product attention and multi-head attention as PyTorch
// 2.15.0 does, with PyTorch's state dict keys, mask polarities and shapes. The code is plain Go,
// meant to be read and compared with, not to be fast.
//
// [SDPA] mirrors [torch.nn.functional]'s scaled_dot_product_attention. [MultiHead] mirrors
// [torch.nn]'s MultiheadAttention and, by configuration, the attention layers of decoders such as
// Llama, GPT-2, GPT-NeoX and Phi-3. Decoders add grouped heads, a KV cache, rotary positions,
// sliding windows, softcap, attention sinks and ALiBi. Dropout is left out everywhere.
//
// # Shapes
//
// Comments name the dimensions of a tensor with PyTorch's letters:
//
//	B  batch
//	H  query heads; Hk key and value heads
//	L  queries
//	S  keys, the cached ones included
//	P  cached keys
//	T  tokens of any one input
//	E  width of a query and key head; Ev width of a value head
//	D  width of the layer
//
// The distance of a key is its position minus the query's: 0 for the query's own token, negative
// for earlier keys.
//
// # Masks
//
// True has opposite meanings in PyTorch's two interfaces. The name of a field tells which:
//
//   - [SDPAOptions.Allow]: true takes part, as in scaled_dot_product_attention.
//   - [Inputs.Block] and [Inputs.Padding]: true is ignored, as in nn.MultiheadAttention.
//
// [SDPAOptions.Bias] and [Inputs.Bias] are added to the scores and have no polarity.
//
// # Parameters
//
// [New] makes a layer of zeros from a [Config], and [MultiHead.LoadStateDict] fills it.
// [Config.ParamLayout] selects the names and the arrangement of the parameters. [Recognize] finds
// the layout of a state dict, and [Config.Placements] finds the rows of the four projections in its
// tensors.
//
// # Precision
//
// Tensors between two passes are stored in float32, and sums are taken in float64. An output is
// within float32 rounding of PyTorch's, and the same on any number of processors.
//
// [torch.nn]: https://docs.pytorch.org/docs/stable/nn.html
// [torch.nn.functional]: https://docs.pytorch.org/docs/stable/nn.functional.html
package attention
