package variant

import (
	"math"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// attend computes the contexts of all heads, (N, L, Ev). keys leaves out appended keys.
func (v Variant) attend(p *oracle.Problem, q, k, val *attention.Tensor, lead []int, keys int) *attention.Tensor {
	dims, n := len(q.Shape), 1
	for _, d := range lead {
		n *= d
	}
	queries, all, e, ev := q.Shape[dims-2], k.Shape[dims-2], q.Shape[dims-1], val.Shape[dims-1]
	group := n / (len(k.Data) / (all * e)) // query heads that share a key/value head
	out := attention.NewTensor(n, queries, ev)
	m := v.newMasks(p, lead, queries, keys, all)
	for head := range n {
		kvHead := head / group
		if p.KVHead != nil {
			kvHead = p.KVHead(head)
		}
		headKeys, headValues := k.Data[kvHead*all*e:][:all*e], val.Data[kvHead*all*ev:][:all*ev]
		for i := range queries {
			query := q.Data[(head*queries+i)*e:][:e]
			scores, values := v.scores(m, head, i, query, headKeys, headValues)
			context := out.Data[(head*queries+i)*ev:][:ev]
			v.context(scores, values, context)
			if len(scores) == 0 && p.Sinks == nil && p.EmptyRow == attention.EmptyNaN {
				for c := range context {
					context[c] = float32(math.NaN())
				}
			}
		}
	}
	return out
}

// scores returns the scores of the keys that query i of a head sees, each with its value. Scores
// without a value get a value of zero.
func (v Variant) scores(m masks, head, i int, query, keys, values []float32) (scores []float32, of [][]float32) {
	p, e := m.p, len(query)
	all := len(keys) / e
	ev := len(values) / all
	for j := range all {
		if m.hidden(head, i, j) {
			continue
		}
		s := v.score(query, keys[j*e:][:e], float32(p.Scale))
		if p.Softcap > 0 {
			s = float32(p.Softcap) * float32(math.Tanh(float64(s/float32(p.Softcap))))
		}
		scores = append(scores, v.Store(s+m.added(head, i, j)))
		of = append(of, values[j*ev:][:ev])
	}
	if len(scores) > 0 {
		for _, s := range m.valueless(head) {
			scores, of = append(scores, s), append(of, make([]float32, ev))
		}
	}
	return scores, of
}

// score returns scale times q.k.
func (v Variant) score(query, key []float32, scale float32) float32 {
	if !v.FusedScale {
		return scale * v.Dot(query, key)
	}
	scaled := make([]float32, len(query))
	for i, x := range query {
		scaled[i] = v.Store(scale * x)
	}
	return v.Dot(scaled, key)
}

// context computes softmax(scores) times the values. If the variant has several threads, each takes
// a share of the keys. They scale their results to the largest score of all, and add them.
func (v Variant) context(scores []float32, values [][]float32, out []float32) {
	share := max(1, (len(scores)+v.Parts-1)/v.Parts)
	top, total := float32(math.Inf(-1)), float32(0)
	for at := 0; at < len(scores); at += share {
		end := min(at+share, len(scores))
		own := make([]float32, len(out))
		ownTop, ownTotal := v.share(scores[at:end], values[at:end], own)
		before := top
		top = max(top, ownTop)
		shrink, ownShrink := exp(before-top), exp(ownTop-top)
		total = total*shrink + ownTotal*ownShrink
		for c := range out {
			out[c] = out[c]*shrink + own[c]*ownShrink
		}
	}
	for c := range out {
		if total != 0 {
			out[c] = v.Store(out[c] / total)
		}
	}
}

// share adds values times the exponentials of their scores. It does so in one step, or with a
// running maximum and sum that are corrected tile by tile, as fused kernels do. It returns the
// largest score and the sum of the exponentials.
func (v Variant) share(scores []float32, values [][]float32, out []float32) (top, total float32) {
	tile := v.Tile
	if tile == 0 {
		tile = max(1, len(scores))
	}
	top = float32(math.Inf(-1))
	for at := 0; at < len(scores); at += tile {
		end := min(at+tile, len(scores))
		before := top
		for _, s := range scores[at:end] {
			top = max(top, s)
		}
		shrink := exp(before - top)
		total *= shrink
		weights := make([]float32, end-at)
		for j, s := range scores[at:end] {
			weights[j] = v.Store(exp(s - top))
			total += weights[j]
		}
		column := make([]float32, end-at)
		for c := range out {
			for j := range column {
				column[j] = values[at+j][c]
			}
			out[c] = out[c]*shrink + v.Dot(weights, column)
		}
	}
	return top, total
}

func exp(x float32) float32 { return float32(math.Exp(float64(x))) }
