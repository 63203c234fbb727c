package attention

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// SDPAOptions are the optional arguments of [SDPA]. The zero value is PyTorch's default: no
// mask, not causal, scale 1/sqrt(E).
//
// The first six are arguments of scaled_dot_product_attention. The others change the scores as
// torch.nn.attention.flex_attention can, in this order: Scale, Softcap, then Bias and ALiBi are
// added, then keys are hidden. A query stands at the key of its own index, under [LowerRight]
// S-L further on.
type SDPAOptions struct {
	Allow        *Mask     // broadcastable to (..., L, S), true takes part: a boolean attn_mask
	Bias         *Tensor   // broadcastable to (..., L, S), added to the scores: a float attn_mask
	Causality    Causality // is_causal; not together with Allow or Bias
	Scale        float64   // of the scores; 0 is 1/sqrt(E)
	GroupedQuery bool      // query has a multiple of the heads of key and value: enable_gqa
	EmptyRow     EmptyRow  // what a query that may see no key gives

	Window  int     // a query sees keys at a distance below it, on either side; 0 is no limit
	Softcap float64 // c: scores become c tanh(score / c); 0 is none
	ALiBi   bool    // scores lose their head's slope times the distance, see [Slopes]
	Sinks   *Tensor // (H): a logit of each head takes part in the softmax, without a value
}

// SDPA is scaled dot-product attention, softmax(scale q k^T + mask) v, as
// torch.nn.functional.scaled_dot_product_attention without dropout (PyTorch 2.15.0):
// q (..., L, E), k (..., S, E), v (..., S, Ev) -> (..., L, Ev). The leading dimensions, one or
// more, are broadcast; the last of them is H. With GroupedQuery it is H for q and a divisor Hk of it for k
// and v, and head h uses key head h / (H/Hk). No dimension may be 0.
//
// It fails when shapes do not fit, and names every tensor that is wrong; and, as PyTorch
// does, on a mask together with causality.
func SDPA(q, k, v *Tensor, o SDPAOptions) (*Tensor, error) {
	if err := CheckSDPA(q, k, v, o); err != nil {
		return nil, err
	}
	lead, _ := leading(q, k, v, o.GroupedQuery) // checked by CheckSDPA
	c := newCore(q, k, v, lead)
	c.causal, c.window, c.emptyRow = o.Causality != NotCausal, o.Window, o.EmptyRow
	if o.Causality == LowerRight {
		c.offset = c.keys - c.queries
	}
	if o.Scale != 0 {
		c.scale = o.Scale
	}
	c.softcap = o.Softcap
	c.setMasks(o.Allow, o.Bias)
	if o.ALiBi {
		c.slopes = ALiBiSlopes(c.heads)
	}
	if o.Sinks != nil {
		c.sinks = o.Sinks.Data
	}
	out, _ := c.attend(q, k, v, false)
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
	lead, err := leading(q, k, v, o.GroupedQuery)
	if err != nil {
		return err
	}
	return checkOptions(o, slices.Concat(lead, []int{fromEnd(q, 2), fromEnd(k, 2)}))
}

// SDPAShape is the shape of the result, (..., L, Ev). It fails where [CheckSDPA] fails on the
// shapes of query, key and value.
func SDPAShape(q, k, v *Tensor, groupedQuery bool) ([]int, error) {
	lead, err := leading(q, k, v, groupedQuery)
	return slices.Concat(lead, []int{fromEnd(q, 2), fromEnd(v, 1)}), err
}

func fromEnd(t *Tensor, back int) int { return t.Shape[len(t.Shape)-back] }

// leading broadcasts the dimensions before the last two of query, key and value.
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
		shape := slices.Clone(in.t.Shape[:len(in.t.Shape)-2])
		if grouped {
			heads, own := fromEnd(q, 3), fromEnd(in.t, 3)
			if heads%own != 0 || own != fromEnd(k, 3) {
				return nil, fmt.Errorf("%s: shape %s does not fit query %s: grouped query wants (..., Hk, S, width) with Hk a divisor of %d, the same in key and value",
					in.name, FormatShape(in.t.Shape), FormatShape(q.Shape), heads)
			}
			shape[len(shape)-1] = heads
		}
		var ok bool
		if lead, ok = broadcastShapes(lead, shape); !ok {
			return nil, fmt.Errorf("%s: shape %s does not fit query %s: the leading dimensions do not broadcast",
				in.name, FormatShape(in.t.Shape), FormatShape(q.Shape))
		}
	}
	return lead, nil
}

// checkOptions compares the options with the shape of the scores, (..., L, S).
func checkOptions(o SDPAOptions, scores []int) error {
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
			"sinks: shape %s, want (H), one for each head of %s scores", FormatShape(o.Sinks.Shape), FormatShape(scores))
	}
	return errors.Join(errs...)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func checkMask(name string, err error, shape, scores []int) error {
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := broadcast(shape, scores); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
