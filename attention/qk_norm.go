package attention

import "math"

// QKNorm normalizes every query and key head, x (E), before rotary positions are applied:
//
//	x / sqrt(mean(x²) + Epsilon) * weight
//
// as torch.nn.functional.rms_norm does (PyTorch 2.15.0), and as Qwen3 does. The weights are
// the parameters q_norm.weight (E) and k_norm.weight (E), which all heads share. Gemma 3 stores
// its weights less 1: add 1 before loading them.
type QKNorm struct {
	// Epsilon is added to the mean square: rms_norm_eps in Hugging Face's configurations. Must be
	// finite and not negative.
	Epsilon float64
}

// apply normalizes the last dimension of x (..., E) in place. A nil QKNorm changes nothing.
func (n *QKNorm) apply(x *Tensor, weight []float32) {
	if n == nil {
		return
	}
	e := len(weight)
	parallel(len(x.Data)/e, 2*e, func(row int) {
		features := x.Data[row*e:][:e]
		inverse := 1 / math.Sqrt(dot(features, features)/float64(e)+n.Epsilon)
		for i, v := range features {
			features[i] = float32(float64(v) * inverse * float64(weight[i]))
		}
	})
}
