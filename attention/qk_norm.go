package attention

import "math"

// QKNorm is a root mean square norm of each head's query and key over its E features,
// x / sqrt(mean(x²) + Epsilon) times a learned weight: torch.nn.functional.rms_norm (PyTorch
// 2.15.0), as Qwen3 and Gemma 3 use it. The weights are the parameters q_norm.weight and
// k_norm.weight, both (E).
type QKNorm struct {
	Epsilon float64
}

// apply norms the last dimension of x in place.
func (n *QKNorm) apply(x *Tensor, weight []float32) {
	if n == nil {
		return
	}
	e := len(weight)
	parallel(len(x.Data)/e, func(row int) {
		features := x.Data[row*e:][:e]
		inverse := 1 / math.Sqrt(dot(features, features)/float64(e)+n.Epsilon)
		for i, v := range features {
			features[i] = float32(float64(v) * inverse * float64(weight[i]))
		}
	})
}
