package attention

import (
	"math"
	"slices"
)

// core is attention over heads that stand apart: sizes, masks, and everything that changes a
// score, resolved once for all heads.
type core struct {
	lead                             []int // dimensions before the last two of the scores
	heads                            int   // the last of them, 1 where there is none
	queries, keys, width, valueWidth int
	queryHead, keyHead, valueHead    []int // which head of q, k and v is used for head n

	scale, softcap float64
	causal         bool
	offset         int // query i stands at key i + offset
	window         int // 0: no limit
	appended       int // keys at the end that stand nowhere and that every query sees
	emptyRow       EmptyRow

	allow           []bool    // nil: every key takes part
	bias            []float32 // nil: nothing is added
	allowAt, biasAt strides
	slopes          []float64 // ALiBi, (H)
	sinks           []float32 // (H)
	relative        []float32 // (2*reach+1, H)
	reach           int
}

// newCore takes sizes from q (..., L, E), k (..., S, E) and v (..., S, Ev), whose leading
// dimensions are broadcast to lead; k and v may have a divisor of its last one.
func newCore(q, k, v *Tensor, lead []int) *core {
	c := &core{
		lead: lead, heads: 1, queries: fromEnd(q, 2), keys: fromEnd(k, 2),
		width: fromEnd(q, 1), valueWidth: fromEnd(v, 1),
		queryHead: sharedHeads(q, lead), keyHead: sharedHeads(k, lead), valueHead: sharedHeads(v, lead),
	}
	if len(lead) > 0 {
		c.heads = lead[len(lead)-1]
	}
	c.scale = 1 / math.Sqrt(float64(c.width))
	return c
}

// sharedHeads gives, for each place in lead, which head of t stands for it. A dimension that is 1
// or absent repeats as a whole; one that divides lead's repeats each of its heads.
func sharedHeads(t *Tensor, lead []int) []int {
	n, _ := Size(lead) // the tensor's own size bounds it
	own := t.Shape[:len(t.Shape)-2]
	place := make([]int, n)
	for i := range place {
		stride, rest := 1, i
		for back := 1; back <= len(own); back++ {
			size, target := own[len(own)-back], lead[len(lead)-back]
			place[i] += rest % target / (target / size) * stride
			stride, rest = stride*size, rest/target
		}
	}
	return place
}

func (c *core) setMasks(allow *Mask, bias *Tensor) {
	scores := slices.Concat(c.lead, []int{c.queries, c.keys})
	if allow != nil {
		c.allow = allow.Data
		c.allowAt, _ = broadcast(allow.Shape, scores) // checked by checkMask
	}
	if bias != nil {
		c.bias = bias.Data
		c.biasAt, _ = broadcast(bias.Shape, scores)
	}
}

// attend gives the context (..., L, Ev) and, where they are asked for, the weights (..., L, S).
func (c *core) attend(q, k, v *Tensor, keep bool) (context, weights *Tensor) {
	context = NewTensor(slices.Concat(c.lead, []int{c.queries, c.valueWidth})...)
	if keep {
		weights = NewTensor(slices.Concat(c.lead, []int{c.queries, c.keys})...)
	}
	parallel(len(c.queryHead), func(n int) {
		c.head(n, block(q, c.queryHead[n]), block(k, c.keyHead[n]), block(v, c.valueHead[n]), block(context, n), block(weights, n))
	})
	return context, weights
}

// block is one matrix of the last two dimensions; of nil it is nil.
func block(t *Tensor, n int) []float32 {
	if t == nil {
		return nil
	}
	size := fromEnd(t, 2) * fromEnd(t, 1)
	return t.Data[n*size:][:size]
}

// head computes head n row by row: q (L, E), k (S, E), v (S, Ev) -> out (L, Ev), weights (L, S).
func (c *core) head(n int, q, k, v, out, weights []float32) {
	p := make([]float32, c.keys)
	for i := range c.queries {
		c.scores(n, i, q[i*c.width:][:c.width], k, p)
		context := out[i*c.valueWidth:][:c.valueWidth]
		if !softmax(p, c.sink(n)) {
			fillEmpty(context, c.emptyRow)
			fillEmpty(p, c.emptyRow)
		} else {
			weighted(p, v, context)
		}
		if weights != nil {
			copy(weights[i*c.keys:], p)
		}
	}
}

// scores is pass 1: s_j = softcap(scale q.k_j) + what is added, and -inf where query i may not
// see key j.
func (c *core) scores(n, i int, q, k, s []float32) {
	allow, allowStep := c.allowAt.rowOf(n, i)
	bias, biasStep := c.biasAt.rowOf(n, i)
	for j := range s {
		distance := j - (i + c.offset)
		standing := j < c.keys-c.appended
		if (standing && c.hidden(distance)) || (c.allow != nil && !c.allow[allow+j*allowStep]) {
			s[j] = float32(math.Inf(-1))
			continue
		}
		score := c.scale * dot(q, k[j*c.width:][:c.width])
		if c.softcap > 0 {
			score = c.softcap * math.Tanh(score/c.softcap)
		}
		if c.bias != nil {
			score += float64(c.bias[bias+j*biasStep])
		}
		if standing {
			score += c.positional(n%c.heads, distance)
		}
		s[j] = float32(score)
	}
}

// hidden says whether a key at a distance from the query, negative before it, is out of sight.
func (c *core) hidden(distance int) bool {
	return (c.causal && distance > 0) || (c.window > 0 && max(distance, -distance) >= c.window)
}

// positional is what a score gets for the distance alone.
func (c *core) positional(head, distance int) float64 {
	added := 0.0
	if c.slopes != nil {
		added -= c.slopes[head] * float64(max(distance, -distance))
	}
	if c.relative != nil {
		row := max(-c.reach, min(c.reach, distance)) + c.reach
		added += float64(c.relative[row*c.heads+head])
	}
	return added
}

// sink is the logit of a head that no value belongs to; -inf where there is none.
func (c *core) sink(n int) float32 {
	if c.sinks == nil {
		return float32(math.Inf(-1))
	}
	return c.sinks[n%c.heads]
}

// softmax is pass 2: p_j = exp(s_j - top) / (sum + exp(sink - top)), in place, with top the
// greatest of all. It says whether any of them is more than -inf: else there is no softmax.
func softmax(s []float32, sink float32) bool {
	top := max(slices.Max(s), sink) // NaN when one is NaN
	if math.IsInf(float64(top), -1) {
		return false
	}
	sum := math.Exp(float64(sink - top))
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

func fillEmpty(values []float32, e EmptyRow) {
	fill := float32(0)
	if e == EmptyNaN {
		fill = float32(math.NaN())
	}
	for i := range values {
		values[i] = fill
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
