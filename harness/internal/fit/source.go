package fit

import (
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// source is the input of a projection before attention.
type source struct {
	linear    oracle.Linear
	in        []float64 // (B, T, In)
	rows      int       // T
	heads     int       // N, over the whole batch
	rotations [][]float64
}

func (x *jacobian) source(m Projection) source {
	l := x.p.Layer
	switch m {
	case QueryProjection:
		return source{l.Query, x.p.Query.Value, x.queries, x.t.Heads, x.queryRotation}
	case KeyProjection:
		return source{l.Key, x.p.Key.Value, x.keys, x.t.KVHeads, x.keyRotation}
	}
	return source{l.Value, x.p.Value.Value, x.keys, x.t.KVHeads, nil}
}

// mapped returns what a step of a projection adds to its result, (N, T, E), after rotation.
func (x *jacobian) mapped(s source, step []float64) []float64 {
	perBatch := s.heads / x.batch
	l, e := s.linear, s.linear.Out/perBatch
	out, one := make([]float64, s.heads*s.rows*e), make([]float64, e)
	for n := range s.heads {
		for i := range s.rows {
			input := s.in[(n/perBatch*s.rows+i)*l.In:][:l.In]
			for c := range e {
				row := step[(n%perBatch*e+c)*(l.In+1):][:l.In+1]
				one[c] = num.Dot(input, row) + row[l.In]
			}
			to := out[(n*s.rows+i)*e:][:e]
			if s.rotations == nil {
				copy(to, one)
				continue
			}
			for c, v := range one {
				num.AddScaled(v, s.rotations[i][c*e:][:e], to)
			}
		}
	}
	return out
}

// mappedTransposed adds to a step.
func (x *jacobian) mappedTransposed(s source, step, d []float64) {
	perBatch := s.heads / x.batch
	l, e := s.linear, s.linear.Out/perBatch
	for n := range s.heads {
		for i := range s.rows {
			input := s.in[(n/perBatch*s.rows+i)*l.In:][:l.In]
			from := d[(n*s.rows+i)*e:][:e]
			for c := range e {
				v := from[c]
				if s.rotations != nil {
					v = num.Dot(s.rotations[i][c*e:][:e], from)
				}
				row := step[(n%perBatch*e+c)*(l.In+1):][:l.In+1]
				num.AddScaled(v, input, row)
				row[l.In] += v
			}
		}
	}
}
