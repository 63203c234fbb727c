package oracle

import (
	"context"
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
)

// Run computes the result and its noise: (..., L, Ev), or (B, L, D) for a layer.
func (p *Problem) Run() Field {
	f, _ := p.Rows(context.Background(), nil, WithNoise) // only an ended context is an error
	return f
}

// Rows computes some rows of the result, given by their indices in (..., L), and nothing that they
// do not depend on. It returns them as (rows, Ev). If rows is nil, it returns the whole result in
// its own shape. It fails only if ctx ends.
func (p *Problem) Rows(ctx context.Context, rows []int, d Detail) (Field, error) {
	s := &pass{Problem: p, ctx: ctx, detail: d}
	apart := rows != nil && p.rowsStayApart()
	var output Field
	if apart {
		output = s.someRows(rows)
	} else {
		output, _ = s.run(rows)
	}
	if err := ctx.Err(); err != nil {
		return Field{}, err
	}
	if rows == nil || apart {
		return output, nil
	}
	width := num.Last(output.Shape)
	some := newField(d, len(rows), width)
	for i, row := range rows {
		some.Take(i*width, output, row*width, width)
	}
	return some, nil
}

// Weights computes the attention weights of a layer, (B, H, L, S), where S counts appended keys.
func (p *Problem) Weights() Field {
	s := &pass{Problem: p, ctx: context.Background(), keepWeights: true}
	_, weights := s.run(nil)
	return weights
}

// pass is one computation of a problem. If ctx ends, it returns early and its results are invalid.
type pass struct {
	*Problem
	ctx         context.Context
	detail      Detail
	keepWeights bool // weights are returned beside the output
}

func (s *pass) noisy() bool { return s.detail == WithNoise }

// run computes the given rows of the output and, if the pass keeps them, the weights.
func (s *pass) run(rows []int) (output, weights Field) {
	needed := s.rowsBeforeFinish(rows, s.resultShape())
	if s.Turn != nil {
		output = s.turn()
	} else {
		var c contexts
		c, weights = s.context(s.contextRows(needed), everyRow)
		output = c.Field
	}
	if s.Mix != nil {
		output = s.Mix(output)
	}
	if l := s.Layer; l != nil {
		output = s.outputProjection(l.mergeHeads(output, needed), needed)
	}
	if s.Finish != nil {
		output = s.Finish(output)
	}
	if s.Stored != nil {
		output = s.Stored.rounded(output)
	}
	return output, weights
}

// resultShape returns the shape of the result before Finish.
func (p *Problem) resultShape() []int {
	shape := slices.Clone(p.Query.Shape)
	shape[len(shape)-1] = num.Last(p.Value.Shape)
	if p.Layer != nil {
		shape[len(shape)-1] = p.Layer.Output.Out
	}
	return shape
}

// context computes the given context rows, or returns the context that the cache has.
func (s *pass) context(rows rowSet, kept keptRows) (context contexts, weights Field) {
	if !s.keepWeights {
		if known, ok := s.cache.contextFor(s); ok {
			return contexts{Field: known}, Field{}
		}
	}
	q, k, v := s.prepare(s.withJointRows(rows))
	context, weights = s.attend(q, k, v, rows, kept)
	if rows == nil {
		s.cache.keepContext(s, context.Field)
	}
	return context, weights
}

// prepare returns queries (..., H, L, E), keys (..., Hk, S, E) and values (..., Hk, S, Ev), as far
// as the given context rows need them.
func (s *pass) prepare(rows rowSet) (q, k, v Field) {
	if s.Layer == nil {
		q, k, v = s.input(s.Query), s.input(s.Key), s.input(s.Value)
		if s.Past != nil {
			k, v = concatenate(s.input(s.Past.Key), k), concatenate(s.input(s.Past.Value), v)
		}
	} else {
		keys := s.keyInputRows(rows)
		q = s.cache.projected(s, queryRole, s.queryInputRows(rows), s.queries)
		k = s.cache.projected(s, keyRole, keys, s.keys)
		v = s.cache.projected(s, valueRole, keys, s.values)
	}
	if s.Prepare != nil {
		s.Prepare(&q, &k, &v)
	}
	return q, k, v
}

func (s *pass) queries(rows rowSet) Field {
	l := s.Layer
	return s.heads(l.Query, s.Query, l.Heads, rows, l.QueryNorm, l.QueryRotary)
}

func (s *pass) keys(rows rowSet) Field {
	l := s.Layer
	k := s.heads(l.Key, s.Key, l.KVHeads, rows, l.KeyNorm, l.KeyRotary)
	if s.Past != nil {
		k = s.Precision.inCache(concatenate(l.PastRotary.rotate(s.input(s.Past.Key)), k))
	}
	return s.appendKeys(k, l.LearnedKey)
}

func (s *pass) values(rows rowSet) Field {
	l := s.Layer
	v := s.heads(l.Value, s.Value, l.KVHeads, rows, l.ValueNorm, l.ValueRotary)
	if s.Past != nil {
		v = s.Precision.inCache(concatenate(s.input(s.Past.Value), v))
	}
	return s.appendKeys(v, l.LearnedValue)
}

// heads projects the given rows of an input and splits the result into heads, each of which is
// normalised and rotated.
func (s *pass) heads(m Linear, in Array, heads int, rows rowSet, norm *Norm, rotary *Rotary) Field {
	projected := s.linear(s.cache, m, s.input(in), rows)
	x := s.Layer.splitHeads(projected, heads, rows)
	if !m.Skipped {
		projected.giveBack()
	}
	return s.Precision.asFactor(s.normAndRotate(x, norm, rotary))
}

// outputProjection projects the given rows of merged heads, whose memory it gives back.
func (s *pass) outputProjection(merged Field, rows rowSet) Field {
	y := s.linear(nil, s.Layer.Output, s.Precision.asFactor(merged), rows)
	if !s.Layer.Output.Skipped {
		merged.giveBack()
	}
	return y
}

// input returns an array that was given, not computed.
func (s *pass) input(a Array) Field {
	if !s.noisy() {
		return Field{Shape: a.Shape, Value: a.Value}
	}
	return s.Precision.input(a)
}

// normAndRotate applies a norm and rotary positions to heads (B, H, T, E).
func (p *Problem) normAndRotate(x Field, n *Norm, t *Rotary) Field {
	if p.Layer.NormLast {
		return p.Precision.norm(n, p.Precision.rotate(t, x))
	}
	return p.Precision.rotate(t, p.Precision.norm(n, x))
}
