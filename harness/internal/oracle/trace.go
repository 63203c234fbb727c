package oracle

import (
	"context"
	"math"

	"github.com/difftest/difftest/harness/internal/num"
)

// Trace is what a computation without [Hooks] goes through, of N heads over the whole batch.
type Trace struct {
	Query, Key, Value []float64 // as they meet: (N, L, E), (Nk, S, E), (Nk, S, Ev), Nk heads of keys and values
	Sees              []bool    // (N, L, S)
	Scores            []float64 // (N, L, S), -Inf where a key is not seen
	Terms             []float64 // (N, L, S): what is added to the scaled product
	Derivatives       []float64 // (N, L, S): how steep a score is in its scaled product; below 1 with a softcap
	Weights           []float64 // (N, L, S)
	Context           []float64 // (N, L, Ev)
	Output            Field

	Heads, KVHeads    int // N and Nk
	Queries, Keys     int // L and S, with a cache and appended keys
	Width, ValueWidth int // E and Ev
	Group             int // heads that share a head of key and value
}

// Trace computes a problem that has no [Hooks].
func (p *Problem) Trace() Trace {
	s := &pass{Problem: p, ctx: context.Background(), noise: true}
	q, k, v := s.prepare(nil)
	context, weights := s.attend(q, k, v, nil, true)
	t := Trace{
		Query: q.Value, Key: k.Value, Value: v.Value, Weights: weights.Value, Context: context.Value, Output: context,
		Queries: q.Shape[len(q.Shape)-2], Keys: k.Shape[len(k.Shape)-2], Width: num.Last(q.Shape), ValueWidth: num.Last(v.Shape),
	}
	t.Heads, t.KVHeads = len(q.Value)/(t.Queries*t.Width), len(k.Value)/(t.Keys*t.Width)
	t.Group = t.Heads / t.KVHeads
	t.score(p)
	if l := p.Layer; l != nil {
		t.Output = s.linear(nil, l.Output, l.merge(context, nil), nil)
	}
	return t
}

// score gives the scores, as every query has them for every key.
func (t *Trace) score(p *Problem) {
	view := p.view(t.Keys)
	n := t.Heads * t.Queries * t.Keys
	t.Sees, t.Scores, t.Terms, t.Derivatives = make([]bool, n), make([]float64, n), make([]float64, n), make([]float64, n)
	for at := range n {
		head, i, j := at/(t.Queries*t.Keys), at/t.Keys%t.Queries, at%t.Keys
		t.Sees[at], t.Scores[at] = view.sees(head, i, j), math.Inf(-1)
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
		terms, count := view.terms(head, i, j)
		for _, term := range terms[:count] {
			t.Terms[at] += term.value
		}
		t.Scores[at] = s + t.Terms[at]
	}
}

// Matrices are what a turn does to the features of each of n rows, matrices (E, E) to multiply a row
// with, row times matrix; nil without a turn. The turn must be the same for all heads.
func (t *Rotary) Matrices(n, width int) [][]float64 {
	if t == nil {
		return nil
	}
	all := make([][]float64, n)
	for i := range all {
		all[i] = make([]float64, width*width)
	}
	for e := range width {
		x := newField(false, 1, 1, n, width)
		for i := range n {
			x.Value[i*width+e] = 1
		}
		turned := t.rotate(x)
		for i := range n {
			copy(all[i][e*width:], turned.Value[i*width:][:width])
		}
	}
	return all
}
