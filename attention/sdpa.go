package attention

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// SDPAOptions are the optional arguments of [SDPA]. The zero value is PyTorch's default: no
// mask, not causal, scale 1/sqrt(E).
type SDPAOptions struct {
	Allow     *Mask     // broadcastable to (..., L, S), true takes part: a boolean attn_mask
	Bias      *Tensor   // broadcastable to (..., L, S), added to the scores: a float attn_mask
	Causality Causality // is_causal; not together with Allow or Bias
	Scale     float64   // of the scores; 0 is 1/sqrt(E)
	EmptyRow  EmptyRow  // what a query that may see no key gives
}

// SDPA is scaled dot-product attention, softmax(scale q k^T + mask) v, as
// torch.nn.functional.scaled_dot_product_attention without dropout (PyTorch 2.15.0):
// q (..., L, E), k (..., S, E), v (..., S, Ev) -> (..., L, Ev), with the same leading
// dimensions (one or more) in all three. No dimension may be 0.
//
// It fails when shapes do not fit, and names every tensor that is wrong; and, as PyTorch
// does, on a mask together with causality.
func SDPA(q, k, v *Tensor, o SDPAOptions) (*Tensor, error) {
	if err := CheckSDPA(q, k, v, o); err != nil {
		return nil, err
	}
	kernel := newKernel(q, k, v, o)
	lead := q.Shape[:len(q.Shape)-2]
	out := NewTensor(slices.Concat(lead, []int{kernel.queries, kernel.valueWidth})...)
	heads := len(q.Data) / (kernel.queries * kernel.width)
	parallel(heads, func(n int) { kernel.head(n, q.Data, k.Data, v.Data, out.Data) })
	return out, nil
}

// CheckSDPA says what [SDPA] would refuse: every shape that does not fit and every option that
// excludes another.
func CheckSDPA(q, k, v *Tensor, o SDPAOptions) error {
	var errs []error
	for _, in := range []struct {
		name string
		t    *Tensor
	}{{"query", q}, {"key", k}, {"value", v}} {
		if err := in.t.Check(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", in.name, err))
		} else if len(in.t.Shape) < 3 || slices.Contains(in.t.Shape, 0) {
			errs = append(errs, fmt.Errorf("%s: shape %s, want 3 or more dimensions, none of them 0",
				in.name, FormatShape(in.t.Shape)))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}

	n := len(q.Shape)
	lead, e := q.Shape[:n-2], q.Shape[n-1]
	if len(k.Shape) != n || !slices.Equal(k.Shape[:n-2], lead) || k.Shape[n-1] != e {
		errs = append(errs, fmt.Errorf("key: shape %s does not fit query %s: want (..., S, %d) with the same leading dimensions",
			FormatShape(k.Shape), FormatShape(q.Shape), e))
	} else if len(v.Shape) != n || !slices.Equal(v.Shape[:n-1], k.Shape[:n-1]) {
		errs = append(errs, fmt.Errorf("value: shape %s does not fit key %s: want (..., %d, Ev) with the same leading dimensions",
			FormatShape(v.Shape), FormatShape(k.Shape), k.Shape[n-2]))
	}
	errs = append(errs, checkOptions(o, slices.Concat(lead, []int{q.Shape[n-2], k.Shape[len(k.Shape)-2]})))
	return errors.Join(errs...)
}

// checkOptions compares the options with the shape of the scores, (..., L, S).
func checkOptions(o SDPAOptions, scores []int) error {
	var errs []error
	if o.Allow != nil {
		errs = append(errs, checkMask("allow", o.Allow.Check(), o.Allow.Shape, scores))
	}
	if o.Bias != nil {
		errs = append(errs, checkMask("bias", o.Bias.Check(), o.Bias.Shape, scores))
	}
	if o.Allow != nil && o.Bias != nil {
		errs = append(errs, errors.New("allow and bias exclude each other: PyTorch has one attn_mask"))
	}
	if o.Causality != NotCausal && (o.Allow != nil || o.Bias != nil) {
		errs = append(errs, errors.New("a mask and causality exclude each other, as attn_mask and is_causal in PyTorch"))
	}
	if o.Causality < NotCausal || o.Causality > TopLeft {
		errs = append(errs, fmt.Errorf("unknown causality %d", o.Causality))
	}
	if o.EmptyRow < EmptyZero || o.EmptyRow > EmptyNaN {
		errs = append(errs, fmt.Errorf("unknown empty row %d", o.EmptyRow))
	}
	if math.IsNaN(o.Scale) || math.IsInf(o.Scale, 0) {
		errs = append(errs, fmt.Errorf("scale %v is not finite", o.Scale))
	}
	return errors.Join(errs...)
}

func checkMask(name string, err error, shape, scores []int) error {
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := broadcast(shape, scores); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// kernel is attention over one head: sizes, scale and masks, resolved once for all heads.
type kernel struct {
	queries, keys, width, valueWidth int
	scale                            float64
	causality                        Causality
	emptyRow                         EmptyRow
	allow                            []bool    // nil: every key takes part
	bias                             []float32 // nil: nothing is added
	mask                             strides   // of allow or bias
}

func newKernel(q, k, v *Tensor, o SDPAOptions) kernel {
	n := len(q.Shape)
	kn := kernel{
		queries: q.Shape[n-2], keys: k.Shape[n-2], width: q.Shape[n-1], valueWidth: v.Shape[n-1],
		scale: o.Scale, causality: o.Causality, emptyRow: o.EmptyRow,
	}
	if kn.scale == 0 {
		kn.scale = 1 / math.Sqrt(float64(kn.width))
	}
	scores := slices.Concat(q.Shape[:n-2], []int{kn.queries, kn.keys})
	if o.Allow != nil {
		kn.allow = o.Allow.Data
		kn.mask, _ = broadcast(o.Allow.Shape, scores) // checked by checkMask
	}
	if o.Bias != nil {
		kn.bias = o.Bias.Data
		kn.mask, _ = broadcast(o.Bias.Shape, scores)
	}
	return kn
}

// head computes head n: q (L, E), k (S, E), v (S, Ev) -> out (L, Ev), row by row.
func (kn kernel) head(n int, q, k, v, out []float32) {
	q = q[n*kn.queries*kn.width:][:kn.queries*kn.width]
	k = k[n*kn.keys*kn.width:][:kn.keys*kn.width]
	v = v[n*kn.keys*kn.valueWidth:][:kn.keys*kn.valueWidth]
	out = out[n*kn.queries*kn.valueWidth:][:kn.queries*kn.valueWidth]
	weights := make([]float32, kn.keys)
	for i := range kn.queries {
		kn.scores(n, i, q[i*kn.width:][:kn.width], k, weights)
		context := out[i*kn.valueWidth:][:kn.valueWidth]
		if !softmax(weights) {
			fillEmpty(context, kn.emptyRow)
			continue
		}
		weighted(weights, v, context)
	}
}

// scores is pass 1: s_j = scale q.k_j + bias_j, and -inf where query i may not see key j.
func (kn kernel) scores(n, i int, q, k, s []float32) {
	at, step := kn.mask.rowOf(n, i)
	for j := range s {
		if (kn.causality == TopLeft && j > i) || (kn.allow != nil && !kn.allow[at+j*step]) {
			s[j] = float32(math.Inf(-1))
			continue
		}
		score := kn.scale * dot(q, k[j*kn.width:][:kn.width])
		if kn.bias != nil {
			score += float64(kn.bias[at+j*step])
		}
		s[j] = float32(score)
	}
}

// softmax is pass 2: p_j = exp(s_j - max s) / sum, in place. It says whether any key is
// visible: a row of -inf has no softmax.
func softmax(s []float32) bool {
	top := slices.Max(s) // NaN when a score is NaN
	if math.IsInf(float64(top), -1) {
		return false
	}
	sum := 0.0
	for j := range s {
		e := math.Exp(float64(s[j] - top))
		sum += e
		s[j] = float32(e)
	}
	for j := range s {
		s[j] = float32(float64(s[j]) / sum)
	}
	return true
}

// weighted is pass 3: out = sum_j p_j v_j, with v (S, Ev). As in PyTorch a NaN or infinite
// value makes NaN of every row, also behind a mask: 0 times infinity is NaN.
func weighted(p, v, out []float32) {
	for c := range out {
		sum := 0.0
		for j, w := range p {
			sum += float64(w) * float64(v[j*len(out)+c])
		}
		out[c] = float32(sum)
	}
}

func fillEmpty(context []float32, e EmptyRow) {
	fill := float32(0)
	if e == EmptyNaN {
		fill = float32(math.NaN())
	}
	for c := range context {
		context[c] = fill
	}
}

// dot sums in float64, so that its rounding is that of the float32 it is stored as.
func dot(a, b []float32) float64 {
	sum := 0.0
	for i, x := range a {
		sum += float64(x) * float64(b[i])
	}
	return sum
}
