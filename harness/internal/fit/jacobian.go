package fit

import (
	"math"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// jacobian tells how the output of a layer changes with free parameters, to first order. Each row
// of the output is in units of its noise. A step is the change of all free projections, one after
// the other; each is (Out, In+1), its last column the bias.
type jacobian struct {
	p     *oracle.Problem
	t     oracle.Trace // of p
	batch int
	heads int // of one batch element
	free  freeSet

	// Rotations of the query rows and of the new key rows, (E, E); nil without rotary positions.
	queryRotation, keyRotation [][]float64

	queries, keys, past int       // rows of the query input, of the key input, and of the cache
	outs                int       // D
	mask                []bool    // for each element of a step: whether it is free
	weight              []float64 // (B*L), 1 / noise of an output row; 0 if the row holds no number
}

func newJacobian(p *oracle.Problem, free freeSet) *jacobian { return jacobianOf(p, p.Trace(), free) }

// jacobianOf is newJacobian for a problem whose trace is known.
func jacobianOf(p *oracle.Problem, t oracle.Trace, free freeSet) *jacobian {
	l := p.Layer
	x := &jacobian{
		p: p, t: t, batch: p.Query.Shape[0], heads: l.Heads, free: free,
		queries: p.Query.Shape[1], keys: p.Key.Shape[1], outs: l.Output.Out, weight: rowWeights(t.Output),
	}
	if p.Past != nil {
		x.past = p.Past.Key.Shape[2]
	}
	x.queryRotation, x.keyRotation = l.QueryRotary.Matrices(x.queries, t.Width), l.KeyRotary.Matrices(x.keys, t.Width)
	for _, m := range free.projections {
		linear := l.Projections()[m]
		for at := range linear.Out * (linear.In + 1) {
			x.mask = append(x.mask, free.frees(l, m, at/(linear.In+1), at%(linear.In+1)))
		}
	}
	return x
}

// rowWeights returns for each row 1 / RMS of its noise, where the noise counts as at least a
// thousandth of the noisiest row's. Without any noise all rows weigh alike. Rows that hold no
// number get 0.
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
	least := 1e-6 * largest
	if largest == 0 {
		least = 1
	}
	for row, noise := range weights {
		weights[row] = 1 / math.Sqrt(math.Max(noise, least))
	}
	return weights
}

// parts cuts a step into its projections. A projection that is not free has nil.
func (x *jacobian) parts(step []float64) (parts [4][]float64) {
	for _, m := range x.free.projections {
		l := x.p.Layer.Projections()[m]
		n := l.Out * (l.In + 1)
		parts[m], step = step[:n], step[n:]
	}
	return parts
}

// restrict clears the elements of a step that are not free.
func (x *jacobian) restrict(step []float64) {
	for at, free := range x.mask {
		if !free {
			step[at] = 0
		}
	}
}

// moved returns the problem with its free parameters changed by a step.
func (x *jacobian) moved(step []float64) *oracle.Problem {
	p := x.p.Clone()
	parts := x.parts(step)
	for _, m := range x.free.projections {
		l := p.Layer.Projections()[m]
		for o := range l.Out {
			row := parts[m][o*(l.In+1):][:l.In+1]
			num.AddScaled(1, row[:l.In], l.Weight[o*l.In:])
			if l.Bias != nil {
				l.Bias[o] += row[l.In]
			}
		}
	}
	return p
}

// missing returns an output minus the output of the jacobian's problem, in units of each row's
// noise.
func (x *jacobian) missing(got []float64) []float64 {
	r := make([]float64, len(got))
	for row, weight := range x.weight {
		for o := range x.outs {
			if at := row*x.outs + o; weight != 0 {
				r[at] = weight * (got[at] - x.t.Output.Value[at])
			}
		}
	}
	return r
}

// operator returns the jacobian as a linear map.
func (x *jacobian) operator() operator { return operator{x.forward, x.backward} }

// forward returns the change of the output, (B*L, D), for a step.
func (x *jacobian) forward(step []float64) []float64 {
	parts := x.parts(step)
	dc := make([]float64, len(x.t.Context))
	if values := parts[ValueProjection]; values != nil {
		x.addValues(dc, x.mapped(x.source(ValueProjection), values))
	}
	if ds := x.scores(parts); ds != nil {
		x.addScores(dc, ds)
	}
	return x.output(parts[OutputProjection], dc)
}

// backward is the transpose of forward.
func (x *jacobian) backward(dy []float64) []float64 {
	step := make([]float64, len(x.mask))
	parts := x.parts(step)
	dc := x.outputTransposed(parts[OutputProjection], dy)
	if values := parts[ValueProjection]; values != nil {
		x.mappedTransposed(x.source(ValueProjection), values, x.addValuesTransposed(dc))
	}
	if parts[QueryProjection] != nil || parts[KeyProjection] != nil {
		x.scoresTransposed(parts, x.addScoresTransposed(dc))
	}
	x.restrict(step)
	return step
}

// addValues adds to the context, (N, L, Ev), the change that changed values (Nk, S, Ev) cause.
func (x *jacobian) addValues(dc, dv []float64) {
	t := x.t
	x.eachPair(func(n, i, j, at int) {
		if k := j - x.past; k >= 0 && k < x.keys {
			num.AddScaled(t.Weights[at], dv[(n/t.Group*x.keys+k)*t.ValueWidth:][:t.ValueWidth], x.row(dc, n, i))
		}
	})
}

func (x *jacobian) addValuesTransposed(dc []float64) []float64 {
	t := x.t
	dv := make([]float64, t.KVHeads*x.keys*t.ValueWidth)
	x.eachPair(func(n, i, j, at int) {
		if k := j - x.past; k >= 0 && k < x.keys {
			num.AddScaled(t.Weights[at], x.row(dc, n, i), dv[(n/t.Group*x.keys+k)*t.ValueWidth:])
		}
	})
	return dv
}

// addScores adds to the context, (N, L, Ev), the change that changed scores (N, L, S) cause.
func (x *jacobian) addScores(dc, ds []float64) {
	t := x.t
	x.eachRow(func(n, i int) {
		at := (n*t.Queries + i) * t.Keys
		mean := 0.0
		for j, w := range t.Weights[at:][:t.Keys] {
			mean += w * ds[at+j]
		}
		for j, w := range t.Weights[at:][:t.Keys] {
			if w != 0 {
				num.AddScaled(w*(ds[at+j]-mean), x.value(n, j), x.row(dc, n, i))
			}
		}
	})
}

func (x *jacobian) addScoresTransposed(dc []float64) []float64 {
	t := x.t
	ds := make([]float64, len(t.Weights))
	x.eachRow(func(n, i int) {
		at, mean := (n*t.Queries+i)*t.Keys, 0.0
		for j, w := range t.Weights[at:][:t.Keys] {
			if w != 0 {
				ds[at+j] = num.Dot(x.row(dc, n, i), x.value(n, j))
				mean += w * ds[at+j]
			}
		}
		for j, w := range t.Weights[at:][:t.Keys] {
			ds[at+j] = w * (ds[at+j] - mean)
		}
	})
	return ds
}

// output returns the change of the output that a step of the output projection (nil for none) and
// a changed context cause.
func (x *jacobian) output(step, dc []float64) []float64 {
	dy := make([]float64, x.batch*x.t.Queries*x.outs)
	merged, changed := x.merged(x.t.Context), x.merged(dc)
	w := x.p.Layer.Output
	for row, weight := range x.weight {
		if weight == 0 {
			continue
		}
		out := dy[row*x.outs:][:x.outs]
		for o := range out {
			sum := num.Dot(w.Weight[o*w.In:][:w.In], changed[row*w.In:])
			if step != nil {
				sum += num.Dot(step[o*(w.In+1):][:w.In], merged[row*w.In:]) + step[o*(w.In+1)+w.In]
			}
			out[o] = weight * sum
		}
	}
	return dy
}

// outputTransposed returns a change of the context, and adds to a step of the output projection
// unless the step is nil.
func (x *jacobian) outputTransposed(step, dy []float64) []float64 {
	w := x.p.Layer.Output
	merged, changed := x.merged(x.t.Context), make([]float64, x.batch*x.t.Queries*w.In)
	for row, weight := range x.weight {
		if weight == 0 {
			continue
		}
		for o, d := range dy[row*x.outs:][:x.outs] {
			num.AddScaled(weight*d, w.Weight[o*w.In:][:w.In], changed[row*w.In:])
			if step != nil {
				num.AddScaled(weight*d, merged[row*w.In:][:w.In], step[o*(w.In+1):])
				step[o*(w.In+1)+w.In] += weight * d
			}
		}
	}
	return x.apart(changed)
}

// scores returns the change of the scores, (N, L, S); nil if neither queries nor keys are free.
func (x *jacobian) scores(parts [4][]float64) []float64 {
	t := x.t
	var dq, dk []float64
	if step := parts[QueryProjection]; step != nil {
		dq = x.mapped(x.source(QueryProjection), step)
	}
	if step := parts[KeyProjection]; step != nil {
		dk = x.mapped(x.source(KeyProjection), step)
	}
	if dq == nil && dk == nil {
		return nil
	}
	ds := make([]float64, len(t.Weights))
	x.eachPair(func(n, i, j, at int) {
		sum := 0.0
		if dq != nil {
			sum += num.Dot(dq[(n*t.Queries+i)*t.Width:][:t.Width], x.key(n, j))
		}
		if k := j - x.past; dk != nil && k >= 0 && k < x.keys {
			sum += num.Dot(x.query(n, i), dk[(n/t.Group*x.keys+k)*t.Width:])
		}
		ds[at] = x.p.Scale * t.Derivatives[at] * sum
	})
	return ds
}

// scoresTransposed adds to the parts of a step.
func (x *jacobian) scoresTransposed(parts [4][]float64, ds []float64) {
	t := x.t
	dq, dk := make([]float64, t.Heads*t.Queries*t.Width), make([]float64, t.KVHeads*x.keys*t.Width)
	x.eachPair(func(n, i, j, at int) {
		g := x.p.Scale * t.Derivatives[at] * ds[at]
		num.AddScaled(g, x.key(n, j), dq[(n*t.Queries+i)*t.Width:])
		if k := j - x.past; k >= 0 && k < x.keys {
			num.AddScaled(g, x.query(n, i), dk[(n/t.Group*x.keys+k)*t.Width:])
		}
	})
	if step := parts[QueryProjection]; step != nil {
		x.mappedTransposed(x.source(QueryProjection), step, dq)
	}
	if step := parts[KeyProjection]; step != nil {
		x.mappedTransposed(x.source(KeyProjection), step, dk)
	}
}
