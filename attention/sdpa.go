package attention

import (
	"errors"
	"fmt"
	"slices"
)

// SDPAOptions are the optional arguments of [SDPA]. The zero value is PyTorch's default: no mask,
// not causal, scale 1/sqrt(E).
//
// The fields down to EmptyRow mirror torch.nn.functional.scaled_dot_product_attention. The others
// change the scores as a score_mod of torch.nn.attention.flex_attention may (PyTorch 2.15.0). A
// score is computed in this order: Scale, Softcap, then Bias and ALiBi are added, then keys are
// hidden.
//
// A query stands at the key of its own index, P keys further on after a past of P keys, or S-L keys
// further on under [LowerRight]. FirstPositions says otherwise. ALiBi and Window measure distances
// from there. S counts the keys of the past.
//
// The past, KeyLengths and FirstPositions express the operator Attention of ONNX (opset 24).
type SDPAOptions struct {
	// Allow selects the keys that each query sees, broadcastable to (..., L, S): a boolean
	// attn_mask. True takes part, false is ignored. nil allows all. Not together with Bias.
	Allow *Mask
	// Bias is added to the scores, broadcastable to (..., L, S): a float attn_mask. nil adds
	// nothing.
	Bias *Tensor
	// Causality hides keys by position: is_causal. Not together with Allow or Bias.
	Causality Causality
	// Scale multiplies the scores: scale. 0 means 1/sqrt(E).
	Scale float64
	// GroupedQuery lets query have a multiple of the heads of key and value: enable_gqa.
	GroupedQuery bool
	// EmptyRow selects the result for a query that sees no key. PyTorch has EmptyZero here.
	EmptyRow EmptyRow

	// Window hides keys at a distance of Window or more, on either side. 0 hides none.
	Window int
	// Softcap is c in c * tanh(score / c). 0 means no limit.
	Softcap float64
	// ALiBi subtracts the head's slope times the distance from a score. See [ALiBiSlopes].
	ALiBi bool
	// Sinks is a logit of each head, (H), that takes part in the softmax and has no value. nil
	// means none.
	Sinks *Tensor

	// PastKey (..., P, E) and PastValue (..., P, Ev) are the keys and values of earlier tokens.
	// They come before key and value and have the same leading dimensions. nil, for both, is no
	// past.
	PastKey, PastValue *Tensor
	// KeyLengths (B) holds the number of valid keys of each batch element, from 0 to S. The keys
	// after them are hidden: nonpad_kv_seqlen, in ONNX. LowerRight aligns the last query with the
	// last valid key. Scores must be (B, H, L, S). nil means that all keys are valid.
	KeyLengths []int
	// FirstPositions (B) holds the key at which query 0 of each batch element stands. Scores must
	// be (B, H, L, S). Not together with LowerRight.
	FirstPositions []int
}

// Causality selects the keys that a query may see by its position.
type Causality int

const (
	// NotCausal shows every key: is_causal=False, PyTorch's default.
	NotCausal Causality = iota
	// TopLeft shows query i the keys 0 to i, also if there are more keys than queries:
	// is_causal=True. After a past of P keys it shows the keys 0 to i+P.
	TopLeft
	// LowerRight shows query i the keys 0 to i+S-L, so that the last query sees every key:
	// torch.nn.attention.bias.causal_lower_right. KeyLengths takes the place of S. With fewer keys
	// than queries, the first L-S queries see none.
	LowerRight
)

// SDPA computes scaled dot-product attention, softmax(scale * q k^T + mask) v, as
// torch.nn.functional.scaled_dot_product_attention does without dropout (PyTorch 2.15.0):
//
//	q (..., L, E), k (..., S, E), v (..., S, Ev) -> (..., L, Ev)
//
// The leading dimensions, one or more with H as the last, broadcast. With GroupedQuery, k and v
// have a divisor Hk of H heads, and query head h uses head h / (H/Hk), as after repeat_kv. No
// dimension may be 0.
//
// The error names every tensor whose shape does not fit, and every option that excludes another. As
// in PyTorch, a mask and causality exclude each other.
func SDPA(q, k, v *Tensor, o SDPAOptions) (*Tensor, error) {
	if err := CheckSDPA(q, k, v, o); err != nil {
		return nil, err
	}
	k, v = joinTokens(o.PastKey, k), joinTokens(o.PastValue, v)
	lead, _ := leading(q, k, v, o.GroupedQuery) // CheckSDPA has seen no error
	a := newCore(q, k, v, lead)
	a.causal, a.window, a.softcap, a.emptyRow = o.Causality != NotCausal, o.Window, o.Softcap, o.EmptyRow
	a.lengths, a.offsets = o.KeyLengths, o.offsets(lead[0], a.queries, a.keys)
	if o.Scale != 0 {
		a.scale = o.Scale
	}
	a.setMasks(o.Allow, o.Bias)
	if o.ALiBi {
		a.slopes = ALiBiSlopes(a.heads)
	}
	if o.Sinks != nil {
		a.sinks = o.Sinks.Data
	}
	out, _ := a.run(q, k, v, false)
	return out, nil
}

// CheckSDPA returns the error of [SDPA] on these arguments, without computing anything.
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
	past, err := o.checkPast(k, v)
	if err != nil {
		return err
	}
	lead, err := leading(q, k, v, o.GroupedQuery)
	if err != nil {
		return err
	}
	return o.check(slices.Concat(lead, []int{fromEnd(q, 2), past + fromEnd(k, 2)}))
}

// checkPast returns P, the number of keys of the past. The error tells that the past does not fit
// key and value.
func (o SDPAOptions) checkPast(k, v *Tensor) (int, error) {
	switch {
	case o.PastKey == nil && o.PastValue == nil:
		return 0, nil
	case o.PastKey == nil || o.PastValue == nil:
		return 0, errors.New("past_key and past_value go together")
	}
	if err := o.PastKey.Check(); err != nil {
		return 0, fmt.Errorf("past_key: %w", err)
	}
	if len(o.PastKey.Shape) != len(k.Shape) {
		return 0, fmt.Errorf("past_key: shape %s, want as many dimensions as key %s",
			FormatShape(o.PastKey.Shape), FormatShape(k.Shape))
	}
	past, check := fromEnd(o.PastKey, 2), shapeCheck{}
	for _, in := range []struct {
		name     string
		past, of *Tensor
	}{{"past_key", o.PastKey, k}, {"past_value", o.PastValue, v}} {
		want := slices.Clone(in.of.Shape)
		want[len(want)-2] = past
		check.tensor(in.name, in.past, wanted{"(..., P, width)", want})
	}
	return past, errors.Join(check.errs...)
}

// offsets returns the key at which query 0 of each batch element stands.
func (o SDPAOptions) offsets(batch, queries, keys int) []int {
	if o.FirstPositions != nil {
		return o.FirstPositions
	}
	offsets := make([]int, batch)
	for b := range offsets {
		switch {
		case o.Causality == LowerRight && o.KeyLengths != nil:
			offsets[b] = o.KeyLengths[b] - queries
		case o.Causality == LowerRight:
			offsets[b] = keys - queries
		case o.PastKey != nil:
			offsets[b] = fromEnd(o.PastKey, 2)
		}
	}
	return offsets
}

// SDPAShape returns the shape (..., L, Ev) of the result of [SDPA]. An error tells that the shapes
// of query, key and value do not fit one another. Each must have 3 or more dimensions, none of
// them 0.
func SDPAShape(q, k, v *Tensor, groupedQuery bool) ([]int, error) {
	lead, err := leading(q, k, v, groupedQuery)
	return slices.Concat(lead, []int{fromEnd(q, 2), fromEnd(v, 1)}), err
}

// leading broadcasts the dimensions of query, key and value before the last two.
func leading(q, k, v *Tensor, grouped bool) ([]int, error) {
	if fromEnd(k, 1) != fromEnd(q, 1) {
		return nil, fmt.Errorf("key: shape %s does not fit query %s: want (..., S, %d)",
			FormatShape(k.Shape), FormatShape(q.Shape), fromEnd(q, 1))
	}
	if fromEnd(v, 2) != fromEnd(k, 2) {
		return nil, fmt.Errorf("value: shape %s does not fit key %s: want (..., %d, Ev)",
			FormatShape(v.Shape), FormatShape(k.Shape), fromEnd(k, 2))
	}
	lead := slices.Clone(q.Shape[:len(q.Shape)-2])
	for _, in := range []struct {
		name string
		t    *Tensor
	}{{"key", k}, {"value", v}} {
		misfit := fmt.Sprintf("%s: shape %s does not fit query %s",
			in.name, FormatShape(in.t.Shape), FormatShape(q.Shape))
		shape := slices.Clone(in.t.Shape[:len(in.t.Shape)-2])
		if grouped {
			heads, own := fromEnd(q, 3), fromEnd(in.t, 3)
			if heads%own != 0 || own != fromEnd(k, 3) {
				return nil, fmt.Errorf("%s: grouped query wants (..., Hk, S, width) with Hk a divisor of %d, "+
					"the same in key and value", misfit, heads)
			}
			shape[len(shape)-1] = heads
		}
		var ok bool
		if lead, ok = broadcastShapes(lead, shape); !ok {
			return nil, fmt.Errorf("%s: the leading dimensions do not broadcast", misfit)
		}
	}
	return lead, nil
}

// check compares the options with one another and with the shape of the scores, (..., L, S).
func (o SDPAOptions) check(scores []int) error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if o.Allow != nil {
		errs = append(errs, checkMask("allow", o.Allow.Check(), o.Allow.Shape, scores))
	}
	if o.Bias != nil {
		errs = append(errs, checkMask("bias", o.Bias.Check(), o.Bias.Shape, scores))
	}
	refuse(o.Allow != nil && o.Bias != nil, "allow and bias exclude each other: PyTorch has one attn_mask")
	refuse(o.Causality != NotCausal && (o.Allow != nil || o.Bias != nil),
		"a mask and causality exclude each other, as attn_mask and is_causal in PyTorch")
	refuse(o.Causality < NotCausal || o.Causality > LowerRight, "unknown causality %d", o.Causality)
	refuse(o.EmptyRow < EmptyZero || o.EmptyRow > EmptyNaN, "unknown empty row %d", o.EmptyRow)
	refuse(!finite(o.Scale), "scale %v is not finite", o.Scale)
	refuse(o.Window < 0, "window %d, want 0 (none) or at least 1", o.Window)
	refuse(!finite(o.Softcap) || o.Softcap < 0, "softcap %v, want 0 (none) or a positive number", o.Softcap)
	if o.Sinks != nil {
		err := o.Sinks.Check()
		refuse(err != nil, "sinks: %w", err)
		refuse(!slices.Equal(o.Sinks.Shape, scores[len(scores)-3:len(scores)-2]),
			"sinks: shape %s, want (H), one for each head of %s scores",
			FormatShape(o.Sinks.Shape), FormatShape(scores))
	}
	o.checkElements(scores, refuse)
	return errors.Join(errs...)
}

// checkElements refuses numbers of batch elements that do not fit the scores, (..., L, S).
func (o SDPAOptions) checkElements(scores []int, refuse refusal) {
	refuse(o.FirstPositions != nil && o.Causality == LowerRight,
		"first positions and lower-right causality exclude each other")
	for _, of := range []struct {
		name        string
		values      []int
		least, most int
	}{
		{"key_lengths", o.KeyLengths, 0, scores[len(scores)-1]},
		{"first_positions", o.FirstPositions, -maxWidth, maxWidth},
	} {
		if of.values == nil {
			continue
		}
		refuse(len(scores) != 4 || len(of.values) != scores[0],
			"%s: %d numbers, want one for each batch element of (B, H, L, S) scores, which are %s",
			of.name, len(of.values), FormatShape(scores))
		for b, value := range of.values {
			refuse(value < of.least || value > of.most, "%s: element %d is %d, want %d to %d",
				of.name, b, value, of.least, of.most)
		}
	}
}

// checkMask returns err, the error of a mask's data, or an error if its shape does not broadcast to
// the scores.
func checkMask(name string, err error, shape, scores []int) error {
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := broadcast(shape, scores); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
