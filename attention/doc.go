// Package attention computes scaled dot-product and multi-head attention as PyTorch does:
// the same state dict keys, the same mask polarities, the same shapes.
//
// [SDPA] is the function, [MultiHead] the layer, with what decoders add to it: grouped heads, a
// cache, rotary positions, windows, softcap, sinks, ALiBi. [ParamLayout] are the names under which state
// dicts have the parameters, and [Recognize] tells them.
//
// Dimension letters are PyTorch's: B batch, H heads, Hk heads of key and value, L or Tq queries,
// S or Tk keys, P cached keys, E head width of query and key, Ev head width of value, D width of the
// layer.
//
// Values are stored as float32 between passes and summed in float64, so an output is within
// float32 rounding of [torch.nn.functional.scaled_dot_product_attention] and
// [torch.nn.MultiheadAttention] (PyTorch 2.15.0).
//
// [torch.nn.functional.scaled_dot_product_attention]: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html
// [torch.nn.MultiheadAttention]: https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html
package attention
