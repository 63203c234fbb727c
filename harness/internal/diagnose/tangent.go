package diagnose

import (
	"math"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Projection is one of the four linear maps of a layer.
type Projection int

// The maps, in the order of [oracle.Layer.Projections].
const (
	QueryMap Projection = iota
	KeyMap
	ValueMap
	OutputMap
)

func (m Projection) String() string { return [...]string{"query", "key", "value", "output"}[m] }

// tangent says how the output of a layer moves with parameters that are free, to first order:
// each row of it in units of its noise. A step is the change of all free maps, one behind the other,
// of each (Out, In+1), the bias last.
type tangent struct {
	p     *oracle.Problem
	t     oracle.Trace
	batch int
	heads int // of one batch element
	free  freedom

	mask                []bool      // of a step: what is free
	weight              []float64   // (B*L): 1 over the noise of a row; 0 where there is nothing to fit
	queryTurn, keyTurn  [][]float64 // rotations of the rows of queries, and of new keys
	queries, keys, past int         // rows of the inputs, and cached keys
	outs                int         // D
}

func newTangent(p *oracle.Problem, free freedom) *tangent {
	l, t := p.Layer, p.Trace()
	x := &tangent{p: p, t: t, batch: p.Query.Shape[0], heads: l.Heads, free: free}
	x.queries, x.keys = p.Query.Shape[1], p.Key.Shape[1]
	if p.Past != nil {
		x.past = p.Past.Key.Shape[2]
	}
	x.queryTurn, x.keyTurn = l.QueryRotary.Matrices(x.queries, t.Width), l.KeyRotary.Matrices(x.keys, t.Width)
	x.outs = l.Output.Out
	x.weight = rowWeights(t.Output)
	for _, m := range free.maps {
		linear := l.Projections()[m]
		for at := range linear.Out * (linear.In + 1) {
			x.mask = append(x.mask, free.frees(l, m, at/(linear.In+1), at%(linear.In+1)))
		}
	}
	return x
}

// rowWeights are 1 over the root mean square of the noise in each row, which is at least a thousandth
// of the largest; 0 in rows that hold no number.
func rowWeights(f oracle.Field) []float64 {
	width := num.Last(f.Shape)
	weights, largest := make([]float64, len(f.Value)/width), 0.0
	for row := range weights {
		noise := 0.0
		for c := range width {
			noise += f.Variance[row*width+c] / float64(width)
		}
		if math.IsNaN(f.Value[row*width]) {
			noise = math.Inf(1)
		} else {
			largest = math.Max(largest, noise)
		}
		weights[row] = noise
	}
	for row, noise := range weights {
		weights[row] = 1 / math.Sqrt(math.Max(noise, 1e-6*largest))
	}
	return weights
}

// parts cuts a step into its maps.
func (x *tangent) parts(step []float64) (parts [4][]float64) {
	for _, m := range x.free.maps {
		l := x.p.Layer.Projections()[m]
		n := l.Out * (l.In + 1)
		parts[m], step = step[:n], step[n:]
	}
	return parts
}

// restrict clears what is not free in a step.
func (x *tangent) restrict(step []float64) {
	for at, free := range x.mask {
		if !free {
			step[at] = 0
		}
	}
}

// forward is the change of the output, (B*L, D), for a step.
func (x *tangent) forward(step []float64) []float64 {
	parts, t := x.parts(step), x.t
	dc := make([]float64, len(t.Context))
	if parts[ValueMap] != nil {
		dv := x.mapped(x.p.Layer.Value, x.p.Value.Value, x.keys, parts[ValueMap], t.KVHeads, nil)
		x.eachPair(func(n, i, j, at int) {
			k := j - x.past
			if k < 0 || k >= x.keys {
				return
			}
			num.AddScaled(t.Weights[at], dv[(n/t.Group*x.keys+k)*t.ValueWidth:][:t.ValueWidth], dc[(n*t.Queries+i)*t.ValueWidth:])
		})
	}
	if ds := x.scores(parts); ds != nil {
		x.eachRow(func(n, i int) {
			at := (n*t.Queries + i) * t.Keys
			mean := 0.0
			for j, w := range t.Weights[at:][:t.Keys] {
				mean += w * ds[at+j]
			}
			for j, w := range t.Weights[at:][:t.Keys] {
				if w != 0 {
					num.AddScaled(w*(ds[at+j]-mean), t.Value[(n/t.Group*t.Keys+j)*t.ValueWidth:][:t.ValueWidth], dc[(n*t.Queries+i)*t.ValueWidth:])
				}
			}
		})
	}
	dy := make([]float64, x.batch*t.Queries*x.outs)
	merged, changed := x.merged(t.Context), x.merged(dc)
	w := x.p.Layer.Output
	for row, weight := range x.weight {
		if weight == 0 {
			continue
		}
		out := dy[row*x.outs:][:x.outs]
		for o := range out {
			sum := num.Dot(w.Weight[o*w.In:][:w.In], changed[row*w.In:])
			if step := parts[OutputMap]; step != nil {
				sum += num.Dot(step[o*(w.In+1):][:w.In], merged[row*w.In:]) + step[o*(w.In+1)+w.In]
			}
			out[o] = weight * sum
		}
	}
	return dy
}

// backward is the transpose of forward.
func (x *tangent) backward(dy []float64) []float64 {
	t, w := x.t, x.p.Layer.Output
	step := make([]float64, len(x.mask))
	parts := x.parts(step)
	merged, changed := x.merged(t.Context), make([]float64, x.batch*t.Queries*w.In)
	for row, weight := range x.weight {
		if weight == 0 {
			continue
		}
		for o, d := range dy[row*x.outs:][:x.outs] {
			num.AddScaled(weight*d, w.Weight[o*w.In:][:w.In], changed[row*w.In:])
			if out := parts[OutputMap]; out != nil {
				num.AddScaled(weight*d, merged[row*w.In:][:w.In], out[o*(w.In+1):])
				out[o*(w.In+1)+w.In] += weight * d
			}
		}
	}
	dc := x.apart(changed)
	if parts[ValueMap] != nil {
		dv := make([]float64, t.KVHeads*x.keys*t.ValueWidth)
		x.eachPair(func(n, i, j, at int) {
			k := j - x.past
			if k < 0 || k >= x.keys {
				return
			}
			num.AddScaled(t.Weights[at], dc[(n*t.Queries+i)*t.ValueWidth:][:t.ValueWidth], dv[(n/t.Group*x.keys+k)*t.ValueWidth:])
		})
		x.unmapped(x.p.Layer.Value, x.p.Value.Value, x.keys, parts[ValueMap], dv, t.KVHeads, nil)
	}
	if parts[QueryMap] != nil || parts[KeyMap] != nil {
		x.unscored(parts, x.pulls(dc))
	}
	x.restrict(step)
	return step
}

// scores is the change of the scores, (N, L, S); nil where neither queries nor keys are free.
func (x *tangent) scores(parts [4][]float64) []float64 {
	t, l := x.t, x.p.Layer
	var dq, dk []float64
	if parts[QueryMap] != nil {
		dq = x.mapped(l.Query, x.p.Query.Value, x.queries, parts[QueryMap], t.Heads, x.queryTurn)
	}
	if parts[KeyMap] != nil {
		dk = x.mapped(l.Key, x.p.Key.Value, x.keys, parts[KeyMap], t.KVHeads, x.keyTurn)
	}
	if dq == nil && dk == nil {
		return nil
	}
	ds := make([]float64, len(t.Weights))
	x.eachPair(func(n, i, j, at int) {
		sum := 0.0
		if dq != nil {
			sum += num.Dot(dq[(n*t.Queries+i)*t.Width:][:t.Width], t.Key[(n/t.Group*t.Keys+j)*t.Width:])
		}
		if k := j - x.past; dk != nil && k >= 0 && k < x.keys {
			sum += num.Dot(t.Query[(n*t.Queries+i)*t.Width:][:t.Width], dk[(n/t.Group*x.keys+k)*t.Width:])
		}
		ds[at] = x.p.Scale * t.Derivatives[at] * sum
	})
	return ds
}

// pulls carries a change of the context back to the scores, (N, L, S).
func (x *tangent) pulls(dc []float64) []float64 {
	t := x.t
	ds := make([]float64, len(t.Weights))
	x.eachRow(func(n, i int) {
		at, mean := (n*t.Queries+i)*t.Keys, 0.0
		for j, w := range t.Weights[at:][:t.Keys] {
			if w != 0 {
				ds[at+j] = num.Dot(dc[(n*t.Queries+i)*t.ValueWidth:][:t.ValueWidth], t.Value[(n/t.Group*t.Keys+j)*t.ValueWidth:])
				mean += w * ds[at+j]
			}
		}
		for j, w := range t.Weights[at:][:t.Keys] {
			ds[at+j] = w * (ds[at+j] - mean)
		}
	})
	return ds
}

// unscored is the transpose of scores: it adds to the parts of a step.
func (x *tangent) unscored(parts [4][]float64, ds []float64) {
	t, l := x.t, x.p.Layer
	dq, dk := make([]float64, t.Heads*t.Queries*t.Width), make([]float64, t.KVHeads*x.keys*t.Width)
	x.eachPair(func(n, i, j, at int) {
		g := x.p.Scale * t.Derivatives[at] * ds[at]
		num.AddScaled(g, t.Key[(n/t.Group*t.Keys+j)*t.Width:][:t.Width], dq[(n*t.Queries+i)*t.Width:])
		if k := j - x.past; k >= 0 && k < x.keys {
			num.AddScaled(g, t.Query[(n*t.Queries+i)*t.Width:][:t.Width], dk[(n/t.Group*x.keys+k)*t.Width:])
		}
	})
	if parts[QueryMap] != nil {
		x.unmapped(l.Query, x.p.Query.Value, x.queries, parts[QueryMap], dq, t.Heads, x.queryTurn)
	}
	if parts[KeyMap] != nil {
		x.unmapped(l.Key, x.p.Key.Value, x.keys, parts[KeyMap], dk, t.KVHeads, x.keyTurn)
	}
}

// mapped is what a step of a map makes of its inputs (B, T, In): (N, T, E), rotated.
func (x *tangent) mapped(l oracle.Linear, in []float64, rows int, step []float64, heads int, turns [][]float64) []float64 {
	e, perBatch := l.Out/(heads/x.batch), heads/x.batch
	out, one := make([]float64, heads*rows*e), make([]float64, e)
	for n := range heads {
		for i := range rows {
			input := in[(n/perBatch*rows+i)*l.In:][:l.In]
			for c := range e {
				row := step[(n%perBatch*e+c)*(l.In+1):][:l.In+1]
				one[c] = num.Dot(input, row) + row[l.In]
			}
			to := out[(n*rows+i)*e:][:e]
			if turns == nil {
				copy(to, one)
				continue
			}
			for c, v := range one {
				num.AddScaled(v, turns[i][c*e:][:e], to)
			}
		}
	}
	return out
}

// unmapped is the transpose of mapped: it adds to a step.
func (x *tangent) unmapped(l oracle.Linear, in []float64, rows int, step, d []float64, heads int, turns [][]float64) {
	e, perBatch := l.Out/(heads/x.batch), heads/x.batch
	for n := range heads {
		for i := range rows {
			input := in[(n/perBatch*rows+i)*l.In:][:l.In]
			from := d[(n*rows+i)*e:][:e]
			for c := range e {
				v := from[c]
				if turns != nil {
					v = num.Dot(turns[i][c*e:][:e], from)
				}
				row := step[(n%perBatch*e+c)*(l.In+1):][:l.In+1]
				num.AddScaled(v, input, row)
				row[l.In] += v
			}
		}
	}
}

func (x *tangent) eachRow(f func(n, i int)) {
	for n := range x.t.Heads {
		for i := range x.t.Queries {
			if x.weight[n/x.heads*x.t.Queries+i] != 0 {
				f(n, i)
			}
		}
	}
}

// eachPair visits every query and key with a weight.
func (x *tangent) eachPair(f func(n, i, j, at int)) {
	x.eachRow(func(n, i int) {
		for j := range x.t.Keys {
			if at := (n*x.t.Queries+i)*x.t.Keys + j; x.t.Weights[at] != 0 {
				f(n, i, j, at)
			}
		}
	})
}

// merged puts the heads of a position side by side: (N, L, Ev) -> (B*L, H*Ev).
func (x *tangent) merged(c []float64) []float64 {
	out := make([]float64, len(c))
	x.eachPlace(func(together, apart, width int) { copy(out[together:][:width], c[apart:]) })
	return out
}

// apart undoes merged.
func (x *tangent) apart(c []float64) []float64 {
	out := make([]float64, len(c))
	x.eachPlace(func(together, apart, width int) { copy(out[apart:][:width], c[together:]) })
	return out
}

func (x *tangent) eachPlace(f func(together, apart, width int)) {
	for n := range x.t.Heads {
		for i := range x.t.Queries {
			f(((n/x.heads*x.t.Queries+i)*x.heads+n%x.heads)*x.t.ValueWidth, (n*x.t.Queries+i)*x.t.ValueWidth, x.t.ValueWidth)
		}
	}
}
