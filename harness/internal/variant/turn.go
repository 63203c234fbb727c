package variant

import (
	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// turn rotates features by the tables of a problem that has an [oracle.Turn].
func (v Variant) turn(p *oracle.Problem) *attention.Tensor {
	t, x := p.Turn, v.input(p.Query)
	dims := len(x.Shape)
	tokens, features := x.Shape[dims-2], x.Shape[dims-1]
	out := x.Clone()
	for row := range len(x.Data) / features {
		b := row * x.Shape[0] / (len(x.Data) / features)
		place := t.Row(b, row%tokens)
		for h := range t.Heads {
			start := row*features + h*features/t.Heads
			for i := range t.Dim / 2 {
				first, second := start+i, start+i+t.Dim/2
				if t.Interleaved {
					first, second = start+2*i, start+2*i+1
				}
				out.Data[first] = v.turned(t, 0, place, i, x.Data[first], -x.Data[second])
				out.Data[second] = v.turned(t, 1, place, i, x.Data[second], x.Data[first])
			}
		}
	}
	return out
}

// turned returns own cos + other sin for the first or the second feature of pair i.
func (v Variant) turned(t *oracle.Turn, feature, place, i int, own, other float32) float32 {
	cos, sin := t.Cos[feature], t.Sin[feature]
	columns := cos.Shape[len(cos.Shape)-1]
	c, s := v.Store(float32(cos.Value[place*columns+i])), v.Store(float32(sin.Value[place*columns+i]))
	return v.Store(v.Store(own*c) + v.Store(other*s))
}
