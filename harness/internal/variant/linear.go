package variant

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// project returns the projections of query, key and value, before their heads are split. It uses
// one product for each, or one for all that have the same input.
func (v Variant) project(p *oracle.Problem) (q, k, val *attention.Tensor) {
	l, query, key, value := p.Layer, v.input(p.Query), v.input(p.Key), v.input(p.Value)
	switch memory := slices.Equal(key.Data, value.Data) && l.Key.In == l.Value.In; {
	case v.FusedInput && memory && slices.Equal(query.Data, key.Data) && l.Query.In == l.Key.In:
		parts := v.stacked(query, l.Query, l.Key, l.Value)
		return parts[0], parts[1], parts[2]
	case v.FusedInput && memory:
		parts := v.stacked(key, l.Key, l.Value)
		return v.linear(query, l.Query), parts[0], parts[1]
	}
	return v.linear(query, l.Query), v.linear(key, l.Key), v.linear(value, l.Value)
}

// stacked applies several projections in one product, and separates the results. If only some of
// them have a bias, it gives the others a bias of zero.
func (v Variant) stacked(x *attention.Tensor, projections ...oracle.Linear) []*attention.Tensor {
	all := oracle.Linear{In: projections[0].In}
	biased := slices.ContainsFunc(projections, func(m oracle.Linear) bool { return m.Bias != nil })
	for _, m := range projections {
		all.Weight, all.Out = append(all.Weight, m.Weight...), all.Out+m.Out
		if biased && m.Bias == nil {
			all.Bias = append(all.Bias, make([]float64, m.Out)...)
		}
		all.Bias = append(all.Bias, m.Bias...)
	}
	together := v.linear(x, all)
	var parts []*attention.Tensor
	first := 0
	for _, m := range projections {
		part := attention.NewTensor(x.Shape[0], x.Shape[1], m.Out)
		for row := range x.Shape[0] * x.Shape[1] {
			copy(part.Data[row*m.Out:][:m.Out], together.Data[row*all.Out+first:])
		}
		parts, first = append(parts, part), first+m.Out
	}
	return parts
}

// linear returns y = x W^T + b.
func (v Variant) linear(x *attention.Tensor, m oracle.Linear) *attention.Tensor {
	switch {
	case m.Skipped:
		return x
	case v.Transposed:
		return v.linearTransposed(x, m)
	}
	y := attention.NewTensor(x.Shape[0], x.Shape[1], m.Out)
	weight := make([]float32, len(m.Weight))
	for i, w := range m.Weight {
		weight[i] = v.Store(float32(w))
	}
	in := make([]float32, m.In)
	for row := range x.Shape[0] * x.Shape[1] {
		for i := range in {
			in[i] = v.Store(x.Data[row*m.In+i])
		}
		for o := range m.Out {
			y.Data[row*m.Out+o] = v.Store(v.sum(in, weight[o*m.In:][:m.In], m.Bias, o))
		}
	}
	return y
}

// sum returns w x + b of output o.
func (v Variant) sum(in, weight []float32, bias []float64, o int) float32 {
	if bias == nil {
		return v.Dot(in, weight)
	}
	b := v.Store(float32(bias[o]))
	if v.BiasFirst {
		return v.Dot(append([]float32{1}, in...), append([]float32{b}, weight...))
	}
	return v.Dot(in, weight) + b
}

// linearTransposed goes through the stored weight, (in, out), row by row. It adds to all outputs at
// once, each step with one fused multiply-add.
func (v Variant) linearTransposed(x *attention.Tensor, m oracle.Linear) *attention.Tensor {
	stored := make([]float32, len(m.Weight))
	for i, w := range m.Weight {
		stored[i%m.In*m.Out+i/m.In] = v.Store(float32(w))
	}
	y := attention.NewTensor(x.Shape[0], x.Shape[1], m.Out)
	for row := range x.Shape[0] * x.Shape[1] {
		out := y.Data[row*m.Out:][:m.Out]
		if m.Bias != nil && v.BiasFirst {
			for o, b := range m.Bias {
				out[o] = v.Store(float32(b))
			}
		}
		for i := range m.In {
			in := v.Store(x.Data[row*m.In+i])
			for o, w := range stored[i*m.Out:][:m.Out] {
				out[o] = float32(math.FMA(float64(in), float64(w), float64(out[o])))
			}
		}
		for o := range out {
			if m.Bias != nil && !v.BiasFirst {
				out[o] += v.Store(float32(m.Bias[o]))
			}
			out[o] = v.Store(out[o])
		}
	}
	return y
}
