package attention

import (
	"math"
	"slices"
)

// kernel computes attention after shapes and options are checked: each head and each query on its
// own, in three passes over the keys.
//
//	pass 1, scores   s_j = softcap(scale * q . k_j) + bias + positional terms, -inf if hidden
//	pass 2, softmax  p_j = exp(s_j - max) / (sum_j exp(s_j - max) + exp(sink - max))
//	pass 3, context  out = sum_j p_j v_j
//
// [SDPA] and [MultiHead] share this code.
type kernel struct {
	lead                    []int // leading dimensions of the scores, (..., H)
	heads                   int   // H, 1 if there are no leading dimensions
	queries, keys           int   // L, S
	width, valueWidth       int   // E, Ev
	queryOf, keyOf, valueOf []int // matrix of q, k and v for each head of lead

	scale, softcap float64
	causal         bool
	offset         int // query i stands at key i + offset
	window         int // 0 hides none
	appended       int // keys at the end, without a position, that every query sees
	emptyRow       EmptyRow
	offsets        []int // offset of each batch element, in its place; nil if all have the same
	lengths        []int // valid keys of each batch element; nil if all are valid

	allow                     []bool    // nil allows all
	bias                      []float32 // nil adds nothing
	allowStrides, biasStrides strides

	slopes       []float64 // ALiBi, (H), nil for none
	sinks        []float32 // (H), nil for none
	relativeBias []float32 // (2*reach+1, H), nil for none
	reach        int
}

// newKernel reads the sizes of q (..., L, E), k (..., S, E) and v (..., S, Ev), whose leading
// dimensions broadcast to lead. The last leading dimension of k and v may divide lead's.
func newKernel(q, k, v *Tensor, lead []int) *kernel {
	a := &kernel{
		lead: lead, heads: 1, queries: fromEnd(q, 2), keys: fromEnd(k, 2),
		width: fromEnd(q, 1), valueWidth: fromEnd(v, 1),
		queryOf: headsOf(q, lead), keyOf: headsOf(k, lead), valueOf: headsOf(v, lead),
	}
	if len(lead) > 0 {
		a.heads = lead[len(lead)-1]
	}
	a.scale = 1 / math.Sqrt(float64(a.width))
	return a
}

// setMasks sets masks whose shapes broadcast to the scores. Either may be nil.
func (a *kernel) setMasks(allow *Mask, bias *Tensor) {
	scores := slices.Concat(a.lead, []int{a.queries, a.keys})
	if allow != nil {
		a.allow = allow.Data
		a.allowStrides, _ = broadcast(allow.Shape, scores) // checkMask has seen no error
	}
	if bias != nil {
		a.bias = bias.Data
		a.biasStrides, _ = broadcast(bias.Shape, scores)
	}
}

// run returns the context (..., L, Ev) and, if they are to be kept, the weights (..., L, S).
func (a *kernel) run(q, k, v *Tensor, keepWeights bool) (context, weights *Tensor) {
	context = NewTensor(slices.Concat(a.lead, []int{a.queries, a.valueWidth})...)
	if keepWeights {
		weights = NewTensor(slices.Concat(a.lead, []int{a.queries, a.keys})...)
	}
	parallel(len(a.queryOf), func(n int) {
		a.head(n, matrix(q, a.queryOf[n]), matrix(k, a.keyOf[n]), matrix(v, a.valueOf[n]),
			matrix(context, n), matrix(weights, n))
	})
	return context, weights
}

// head computes head n: q (L, E), k (S, E), v (S, Ev) -> out (L, Ev), weights (L, S) if not nil.
func (a *kernel) head(n int, q, k, v, out, weights []float32) {
	p := make([]float32, a.keys) // (S), one query's scores, and then its weights
	for i := range a.queries {
		query := q[i*a.width:][:a.width]               // (E)
		context := out[i*a.valueWidth:][:a.valueWidth] // (Ev)

		// pass 1: (E), (S, E) -> (S)
		a.scores(n, i, query, k, p)

		// pass 2: (S) -> (S), in place
		seesAny := softmax(p, a.sink(n))

		// pass 3: (S), (S, Ev) -> (Ev)
		if seesAny {
			weightedSum(p, v, context)
		} else {
			a.emptyRow.fill(p)
			a.emptyRow.fill(context)
		}
		if weights != nil {
			copy(weights[i*a.keys:], p)
		}
	}
}

// scores is pass 1: query i of head n (E), keys k (S, E) -> scores s (S), -inf for hidden keys.
func (a *kernel) scores(n, i int, query, k, s []float32) {
	allow, allowStep := a.allowStrides.rowOf(n, i)
	bias, biasStep := a.biasStrides.rowOf(n, i)
	offset, length := a.element(n)
	for j := range s {
		distance := j - (i + offset)
		positioned := j < a.keys-a.appended
		if j >= length || (positioned && a.hidden(distance)) || (a.allow != nil && !a.allow[allow+j*allowStep]) {
			s[j] = float32(math.Inf(-1))
			continue
		}
		score := a.scale * dot(query, k[j*a.width:][:a.width])
		if a.softcap > 0 {
			score = a.softcap * math.Tanh(score/a.softcap)
		}
		if a.bias != nil {
			score += float64(a.bias[bias+j*biasStep])
		}
		if positioned {
			score += a.positional(n%a.heads, distance)
		}
		s[j] = float32(score)
	}
}

// element returns the offset of the queries and the number of valid keys for head n.
func (a *kernel) element(n int) (offset, length int) {
	offset, length = a.offset, a.keys
	b := 0
	if len(a.lead) > 1 {
		b = n / (len(a.queryOf) / a.lead[0])
	}
	if a.offsets != nil {
		offset = a.offsets[b]
	}
	if a.lengths != nil {
		length = a.lengths[b]
	}
	return offset, length
}

// hidden reports whether causality or the window hides a key at this distance.
func (a *kernel) hidden(distance int) bool {
	return (a.causal && distance > 0) || (a.window > 0 && max(distance, -distance) >= a.window)
}

// positional returns the terms of a score that depend on the distance alone: ALiBi and the
// relative bias.
func (a *kernel) positional(head, distance int) float64 {
	added := 0.0
	if a.slopes != nil {
		added -= a.slopes[head] * float64(max(distance, -distance))
	}
	if a.relativeBias != nil {
		row := max(-a.reach, min(a.reach, distance)) + a.reach
		added += float64(a.relativeBias[row*a.heads+head])
	}
	return added
}

// sink returns the sink of a head, -inf if there are no sinks.
func (a *kernel) sink(n int) float32 {
	if a.sinks == nil {
		return float32(math.Inf(-1))
	}
	return a.sinks[n%a.heads]
}

// softmax is pass 2: scores s (S) -> weights (S), in place. The sink takes part without a weight of
// its own. softmax returns false, and changes nothing, if the sink and all scores are -inf.
func softmax(s []float32, sink float32) bool {
	top := max(slices.Max(s), sink) // NaN if any of them is NaN
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

// weightedSum is pass 3: weights p (S), values v (S, Ev) -> out (Ev).
//
// As in PyTorch, a NaN or an infinity in a value makes every query's output NaN, even if a mask
// hides its key. The weight is then 0, and 0 times infinity is NaN.
func weightedSum(p, v, out []float32) {
	for c := range out {
		sum := 0.0
		for j, w := range p {
			sum += float64(w) * float64(v[j*len(out)+c])
		}
		out[c] = float32(sum)
	}
}
