package attention

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention/kernel"
)

// blockRows is the number of queries of a head that are computed together: so few that their scores
// stay in a processor's cache, and a multiple of the rows that the kernels multiply at once.
const blockRows = 24

// block is a block of n queries of a head, from query first on.
type block struct {
	*core
	head, first, n int
	offset, length int // of the head: see element

	scores         []float32 // (n, columns): the keys that one of the queries may see
	start, columns int       // the key of the first column, and the number of columns
	stride         int       // of scores, from query to query
	// seen are the keys with a position that each query may see.
	seen [blockRows]keyRange
	one  []float32 // (1)
}

// keyRange is a range of keys, from first to before end.
type keyRange struct{ first, end int }

func (r keyRange) empty() bool { return r.first >= r.end }

// compute computes the block: q (L, E), k (E, S), v (S, Ev) -> out (L, Ev), weights (L, S) if not
// nil.
func (b *block) compute(q []float32, k kernel.Right[float32], v factor, out, weights []float32) {
	b.offset, b.length = b.element(b.head)

	// pass 1: (n, E), (E, keys) -> (n, keys)
	b.multiplyKeys(q, k, v.finite)

	// pass 2: (n, keys) -> (n, keys), in place
	var sums [blockRows]float32
	for i := range b.n {
		sums[i] = b.softmax(i)
	}

	// pass 3: (n, keys), (keys, Ev) -> (n, Ev)
	context := out[b.first*b.valueWidth:][:b.n*b.valueWidth]
	v.Rows(b.start, b.columns).Mul(b.n, b.scores, b.stride, context, b.valueWidth)
	for i := range b.n {
		b.divide(context[i*b.valueWidth:][:b.valueWidth], sums[i])
		if weights != nil {
			row := weights[(b.first+i)*b.keys:][:b.keys]
			copy(row[b.start:], b.row(i))
			b.divide(row, sums[i])
		}
	}
}

// divide divides by the sum of a query's exponentials. A sum of 0 marks a query that sees no key.
func (b *block) divide(values []float32, sum float32) {
	if sum == 0 {
		b.emptyRow.fill(values)
		return
	}
	for i := range values {
		values[i] /= sum
	}
}

func fill(values []float32, with float32) {
	for i := range values {
		values[i] = with
	}
}

// row returns the scores of a query of the block.
func (b *block) row(i int) []float32 { return b.scores[i*b.stride:][:b.columns] }

// multiplyKeys computes q.k for the keys that positions show to one of the queries.
//
// As in PyTorch, a NaN or an infinity in a value makes every query's output NaN, even if a mask
// hides its key. The weight is then 0, and 0 times infinity is NaN. So keys are left out only if
// all values are finite.
func (b *block) multiplyKeys(q []float32, k kernel.Right[float32], finite bool) {
	all := keyRange{b.keys, 0}
	for i := range b.n {
		b.seen[i] = b.positioned(b.first + i)
		if !b.seen[i].empty() {
			all = keyRange{min(all.first, b.seen[i].first), max(all.end, b.seen[i].end)}
		}
	}
	switch {
	case !finite:
		all = keyRange{0, b.keys}
	case b.appended > 0:
		all.end = b.keys
	case all.empty():
		all.first = 0
	}
	part, start := k.Columns(all.first, all.end)
	b.start, b.columns = start, all.end-start
	b.stride = b.columns
	if b.stride%1024 == 0 {
		b.stride += 16 // rows 4 KiB apart push each other out of a processor's first cache
	}
	b.scores = slices.Grow(b.scores[:0], b.n*b.stride)[:b.n*b.stride]
	part.Mul(b.n, q[b.first*b.width:], b.width, b.scores, b.stride)
}

// positioned returns the keys with a position that a query may see.
func (b *block) positioned(query int) keyRange {
	at, r := query+b.offset, keyRange{0, min(b.length, b.keys-b.appended)}
	if b.causal {
		r.end = min(r.end, at+1)
	}
	if b.window > 0 {
		width := min(b.window, b.keys+b.queries+max(b.offset, -b.offset)) // no distance is larger
		r.first, r.end = max(0, at-width+1), min(r.end, at+width)
	}
	return r
}

// softmax turns q.k of a query into exponentials, with zeros for hidden keys. It returns their sum,
// in which a sink takes part. The sum is 0 if the sink and all scores are -inf.
//
// The bits do not depend on how keys are hidden: the partial sums of [kernel.ExpSum] hold every
// 16th key and are added in a circle, so that the first key does not matter.
func (b *block) softmax(i int) float32 {
	row, seen := b.row(i), [2]keyRange{b.seen[i], {b.keys - b.appended, b.length}}
	top, end, first := b.sink(b.head), b.start, b.columns
	for _, r := range seen {
		if !r.empty() {
			fill(row[end-b.start:r.first-b.start], float32(math.Inf(-1)))
			top, end, first = max(top, b.score(i, r)), r.end, min(first, r.first-b.start)
		}
	}
	clear(row[end-b.start:])
	if math.IsInf(float64(top), -1) {
		clear(row)
		return 0
	}
	clear(row[:first])
	b.one = append(b.one[:0], b.sink(b.head))
	return kernel.ExpSum(row[first:max(first, end-b.start)], top) + kernel.ExpSum(b.one, top)
}

// score turns q.k of a query and of a range of keys into scores, and returns the largest of them.
// It returns NaN if there is a NaN and nothing above -inf.
func (b *block) score(i int, keys keyRange) float32 {
	s := b.row(i)[keys.first-b.start : keys.end-b.start]
	top := kernel.ScaleMax(s, float32(b.scale))
	if b.modified {
		b.modify(b.first+i, keys, s)
		top = kernel.ScaleMax(s, 1)
	}
	if math.IsInf(float64(top), -1) && slices.ContainsFunc(s, func(v float32) bool { return v != v }) {
		return float32(math.NaN())
	}
	return top
}

// modify caps scores, adds biases, and hides keys that a mask hides.
func (b *block) modify(query int, keys keyRange, s []float32) {
	allow, allowStep := b.allowStrides.rowOf(b.head, query)
	bias, biasStep := b.biasStrides.rowOf(b.head, query)
	for n := range s {
		j := keys.first + n
		if b.allow != nil && !b.allow[allow+j*allowStep] {
			s[n] = float32(math.Inf(-1))
			continue
		}
		score := float64(s[n])
		if b.softcap > 0 {
			score = b.softcap * math.Tanh(score/b.softcap)
		}
		if b.bias != nil {
			score += float64(b.bias[bias+j*biasStep])
		}
		if j < b.keys-b.appended {
			score += b.positional(b.head%b.heads, j-(query+b.offset))
		}
		s[n] = float32(score)
	}
}
