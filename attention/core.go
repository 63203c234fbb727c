package attention

import (
	"math"
	"slices"
	"sync"

	"github.com/difftest/difftest/attention/kernel"
)

// core computes attention after shapes and options are checked: some queries of a head at a time,
// in three passes over the keys that one of them sees.
//
//	pass 1, scores   s_j = softcap(scale * q . k_j) + bias + positional terms, -inf if hidden
//	pass 2, softmax  e_j = exp(s_j - max),  sum = sum_j e_j + exp(sink - max)
//	pass 3, context  out = sum_j e_j v_j / sum
//
// [SDPA] and [MultiHead] share this code.
type core struct {
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

	modified bool // whether scores are more than scale * q . k
}

// newCore reads the sizes of q (..., L, E), k (..., S, E) and v (..., S, Ev), whose leading
// dimensions broadcast to lead. The last leading dimension of k and v may divide lead's.
func newCore(q, k, v *Tensor, lead []int) *core {
	a := &core{
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
func (a *core) setMasks(allow *Mask, bias *Tensor) {
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
func (a *core) run(q, k, v *Tensor, keepWeights bool) (context, weights *Tensor) {
	context = NewTensor(slices.Concat(a.lead, []int{a.queries, a.valueWidth})...)
	if keepWeights {
		weights = NewTensor(slices.Concat(a.lead, []int{a.queries, a.keys})...)
	}
	a.modified = a.softcap > 0 || a.allow != nil || a.bias != nil || a.slopes != nil || a.relativeBias != nil
	keys, values := newFactors(k), newFactors(v)
	blocks := (a.queries + blockRows - 1) / blockRows
	free := sync.Pool{New: func() any { return &block{core: a} }}
	work := min(blockRows, a.queries) * a.keys * (a.width + a.valueWidth)
	parallel(len(a.queryOf)*blocks, work, func(i int) {
		n, first := i/blocks, i%blocks*blockRows
		b := free.Get().(*block)
		b.head, b.first, b.n = n, first, min(blockRows, a.queries-first)
		b.compute(matrix(q, a.queryOf[n]), keys.transposed(a.keyOf[n]), values.whole(a.valueOf[n]),
			matrix(context, n), matrix(weights, n))
		free.Put(b)
	})
	return context, weights
}

// factors are the matrices of a tensor, as right factors of products.
type factors struct {
	tensor *Tensor
	once   []sync.Once
	made   []factor
}

type factor struct {
	kernel.Right[float32]
	finite bool
}

func newFactors(t *Tensor) *factors {
	n := len(t.Data) / (fromEnd(t, 2) * fromEnd(t, 1))
	return &factors{t, make([]sync.Once, n), make([]factor, n)}
}

// transposed returns the transpose of matrix n.
func (f *factors) transposed(n int) kernel.Right[float32] {
	rows, cols := fromEnd(f.tensor, 2), fromEnd(f.tensor, 1)
	f.once[n].Do(func() { f.made[n].Right = kernel.Transposed(matrix(f.tensor, n), cols, rows, cols, nil) })
	return f.made[n].Right
}

// whole returns matrix n, and whether all of its elements are finite.
func (f *factors) whole(n int) factor {
	rows, cols := fromEnd(f.tensor, 2), fromEnd(f.tensor, 1)
	f.once[n].Do(func() {
		m := matrix(f.tensor, n)
		finite := !slices.ContainsFunc(m, func(v float32) bool { return v-v != 0 })
		f.made[n] = factor{kernel.NewRight(m, rows, cols, cols), finite}
	})
	return f.made[n]
}

// element returns the offset of the queries and the number of valid keys for head n.
func (a *core) element(n int) (offset, length int) {
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

// positional returns the terms of a score that depend on the distance alone: ALiBi and the
// relative bias.
func (a *core) positional(head, distance int) float64 {
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
func (a *core) sink(n int) float32 {
	if a.sinks == nil {
		return float32(math.Inf(-1))
	}
	return a.sinks[n%a.heads]
}
