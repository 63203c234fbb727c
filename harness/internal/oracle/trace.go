package oracle

import (
	"context"
	"math"

	"github.com/difftest/difftest/harness/internal/num"
)

// Trace holds the intermediate results of a problem without [Hooks]. It numbers the query heads of
// the whole batch from 0 to N-1, and the key/value heads from 0 to Nk-1.
type Trace struct {
	// Query (N, L, E), Key (Nk, S, E) and Value (Nk, S, Ev) enter attention.
	Query, Key, Value []float64
	// Sees (N, L, S) holds whether a query sees a key.
	Sees []bool
	// Scores (N, L, S) enter the softmax; -Inf if the query does not see the key.
	Scores []float64
	// Terms (N, L, S) are the biases in each score.
	Terms []float64
	// Derivatives (N, L, S) holds the derivative of each score by its scaled product: 1 without a
	// softcap.
	Derivatives []float64
	// Weights (N, L, S) are the attention weights.
	Weights []float64
	// Context (N, L, Ev) is the sum of the values by their weights.
	Context []float64
	// Output is the result, with its noise.
	Output Field

	Heads, KVHeads    int // N and Nk
	Queries, Keys     int // L and S, which counts cached and appended keys
	Width, ValueWidth int // E and Ev
	Group             int // query heads that share a key/value head
}

// Trace computes a problem that has no [Hooks].
func (p *Problem) Trace() Trace {
	s := &pass{Problem: p, ctx: context.Background(), keepWeights: true}
	q, k, v := s.prepare(nil)
	context, weights := s.attend(q, k, v, nil, everyRow)
	t := Trace{
		Query: q.Value, Key: k.Value, Value: v.Value,
		Weights: weights.Value, Context: context.Value, Output: context.Field,
		Queries: q.Shape[len(q.Shape)-2], Keys: k.Shape[len(k.Shape)-2],
		Width: num.Last(q.Shape), ValueWidth: num.Last(v.Shape),
	}
	t.Heads, t.KVHeads = len(q.Value)/(t.Queries*t.Width), len(k.Value)/(t.Keys*t.Width)
	t.Group = t.Heads / t.KVHeads
	t.score(p)
	if l := p.Layer; l != nil {
		t.Output = s.linear(nil, l.Output, l.mergeHeads(context.Field, nil), nil)
	}
	return t
}

// score computes Sees, Scores, Terms and Derivatives, for every query and key.
func (t *Trace) score(p *Problem) {
	masks := p.masks(t.Keys)
	n := t.Heads * t.Queries * t.Keys
	t.Sees, t.Scores = make([]bool, n), make([]float64, n)
	t.Terms, t.Derivatives = make([]float64, n), make([]float64, n)
	var v viewer
	for at := range n {
		head, i, j := at/(t.Queries*t.Keys), at/t.Keys%t.Queries, at%t.Keys
		if j == 0 {
			v = masks.viewer(head, i)
		}
		t.Sees[at], t.Scores[at] = masks.sees(&v, j), math.Inf(-1)
		if !t.Sees[at] {
			continue
		}
		product := 0.0
		key := t.Key[(head/t.Group*t.Keys+j)*t.Width:]
		for e, q := range t.Query[(head*t.Queries+i)*t.Width:][:t.Width] {
			product += q * key[e]
		}
		s, _ := p.score(product, 0)
		t.Derivatives[at] = 1
		if p.Softcap > 0 {
			t.Derivatives[at] = 1 - s*s/(p.Softcap*p.Softcap)
		}
		biases, count := masks.biases(head, i, j)
		for _, b := range biases[:count] {
			t.Terms[at] += b.value
		}
		t.Scores[at] = s + t.Terms[at]
	}
}
