// Package transformer computes whole models as Hugging Face's transformers 5.24.0 does on PyTorch
// 2.15.0, with the same state dict keys and the same fields in the configurations. The attention
// layers come from package attention. The code is plain Go, meant to be read and compared with, not
// to be fast.
//
// [New] makes a [Model] of zeros from the configuration of a family, [Model.LoadStateDict] fills it
// and [Model.Forward] computes it:
//
//	LlamaConfig  Llama, Mistral, Qwen2, Qwen3: RMSNorm, rotary positions, gated MLP
//	GemmaConfig  Gemma and Gemma 2: weights of norms less 1, scaled embeddings, softcaps
//	GPT2Config   GPT-2: LayerNorm, learned positions, tied head
//	BertConfig   BERT: norms behind the sums, token types, no causal mask
//	MoeConfig    Mixtral, Qwen2-MoE, Qwen3-MoE, GLM-4-MoE: experts in place of the MLP
//
// [ParseConfig] reads the config.json of such a model. [NewNorm], [NewMLP] and [NewExperts] make a
// [Block], one part of a layer on its own. [LayerNorm], [RMSNorm] and [Activation.Apply] are
// functions. Dropout is left out everywhere.
//
// # Shapes
//
// Comments name the dimensions of a tensor with one letter:
//
//	B  batch
//	T  tokens
//	D  width of the model: hidden_size
//	I  inner width of an MLP or of an expert: intermediate_size
//	V  size of the vocabulary: vocab_size
//	N  experts
//
// # Precision
//
// Tensors between two passes are stored in float32, and sums are taken in float64, as in package
// attention. Routers choose experts from float32 scores.
package transformer
