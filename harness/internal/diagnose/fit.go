package diagnose

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Fit asks whether an output could come from other values of some parameters, all others being right.
// The values are found by least squares, and the case is computed again with them.
type Fit struct {
	Freed      string   // "the value weight (v_proj.weight)"
	Parameters []string // of the state dict
	Refused    string   // why it cannot be asked on this case; "" where it was

	Holds    bool    // the output is explained
	Residual float64 // RMS(got - replay) / RMS(replay)
	MaxZ     float64 // the same in sigma of the replay, largest
	Detail   string  // how the values found differ from the right ones

	Narrowest bool // of the explanations that free the same map it frees the least

	free freedom
}

// Explains says whether the fit was made and gives the output.
func (f Fit) Explains() bool { return f.Refused == "" && f.Holds }

// Maps names the projections whose parameters were free: "value".
func (f Fit) Maps() []string {
	var names []string
	for _, m := range f.free.maps {
		names = append(names, m.String())
	}
	return names
}

// fit is what was found for a freedom.
type fit struct {
	Fit
	problem *oracle.Problem // with the values found
}

// fitter fits one output.
type fitter struct {
	p     *oracle.Problem // right
	trace oracle.Trace    // of it
	shape []int
	got   []float64
	names [4]Parameter
}

func newFitter(p *oracle.Problem, t oracle.Trace, shape []int, got []float64, names [4]Parameter) *fitter {
	return &fitter{p, t, shape, got, names}
}

// try fits one freedom.
func (f *fitter) try(free freedom) fit {
	l := f.p.Layer
	out := fit{Fit: Fit{Freed: free.text(l, f.names), Parameters: free.names(l, f.names), Residual: math.Inf(1), MaxZ: math.Inf(1), free: free}}
	x := newTangent(f.p, free)
	share, reason := x.surplus(free)
	if reason != "" {
		out.Refused = reason
		return out
	}
	start := f.p
	switch {
	case len(free.maps) > 1:
		start, reason = f.factored(x)
	case free.maps[0] < ValueMap && !free.bias:
		start, reason = f.scored(x, &out)
	}
	if reason != "" || start == nil {
		out.Refused = reason
		return out
	}
	f.solve(&out, x.blocks(), start, share)
	if out.Holds {
		out.Refused = f.wild(out)
	}
	if !out.Holds && (free.curved(f.p) || math.IsNaN(out.Residual)) {
		out.Refused = fmt.Sprintf("no such parameter was found (%.2g is left), and the search does not see all", out.Residual)
	}
	return out
}

// wild says why what was found explains nothing though it fits: parameters so large that they tell apart rows that are
// alike but for rounding, or so noisy a computation that it agrees with anything. "" where it is neither.
func (f *fitter) wild(out fit) string {
	const larger, noisier = 64, 16
	for _, m := range out.free.maps {
		right, other := f.p.Layer.Projections()[m], out.problem.Layer.Projections()[m]
		if ratio := num.RMS(other.Weight) / num.RMS(right.Weight); ratio > larger {
			return fmt.Sprintf("only a %s weight %.2g times as large would fit", m, ratio)
		}
	}
	if ratio := noiseOf(out.problem.Run()) / noiseOf(f.trace.Output); !(ratio <= noisier) {
		return fmt.Sprintf("what would fit is %.2g times as noisy as the right computation", ratio)
	}
	return ""
}

// noiseOf is the noise of an output relative to it.
func noiseOf(f oracle.Field) float64 {
	var noise, size float64
	for i, v := range f.Value {
		if !math.IsNaN(v) {
			noise, size = noise+f.Variance[i], size+v*v
		}
	}
	return math.Sqrt(noise / size)
}

// curved says whether a search that begins at the right parameters, or where a softcap is not inverted, may miss
// those that explain an output.
func (f freedom) curved(p *oracle.Problem) bool {
	return f.maps[0] < ValueMap && (f.bias || p.Softcap > 0)
}

// solve takes steps of least squares from a start, until the output is explained or comes no nearer. A start
// that was found from recovered weights, and is not near the output, has no explanation near it.
func (f *fitter) solve(out *fit, b blocks, p *oracle.Problem, share float64) {
	const steps = 5
	for n := range steps + 1 {
		x := newTangent(p, out.free)
		c := compare.Outputs(f.shape, f.got, x.t.Output.Expected())
		if n > 0 && !(c.Rel <= out.Residual) && !c.OK() {
			return
		}
		better := c.Rel < out.Residual/2
		out.Residual, out.MaxZ, out.problem = c.Rel, c.MaxZ, p
		out.Holds = holds(c, share)
		switch {
		case out.Holds && n > 0, n > 0 && !better, n == steps, out.free.is(ValueMap) && n > 0 && c.Rel > near, out.free.is(OutputMap) && n > 0 && c.Rel > near,
			n == 0 && p != f.p && c.Rel > 2*near:
			return
		}
		p = x.moved(cgls(operator{x.forward, x.backward}, b, x.lacking(f.got), len(x.mask)))
	}
}

// holds says whether a fit explains an output: within the noise of its replay, of which least squares
// takes its share away.
func holds(c compare.Comparison, share float64) bool {
	return c.OK() && c.Rel <= near && c.RMSZ <= c.Limits.RMS*math.Sqrt(share)
}

// lacking is what an output lacks to that of the tangent, in units of a row's noise.
func (x *tangent) lacking(got []float64) []float64 {
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

// moved is the problem with its free parameters changed by a step.
func (x *tangent) moved(step []float64) *oracle.Problem {
	p := x.p.Clone()
	parts := x.parts(step)
	for _, m := range x.free.maps {
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

// scored is where the search for queries or keys begins: scores are found from the recovered weights, in whose
// logarithm they are linear. It is nil, and the fit done, where the context is no mixture of the values,
// whatever the scores are.
func (f *fitter) scored(x *tangent, out *fit) (*oracle.Problem, string) {
	heads := upTo(f.p.Layer.Heads)
	if x.free.heads != nil {
		heads = x.free.queryHeads(f.p.Layer)
	}
	found, reason := recoverWeights(f.p, f.trace, f.got, heads)
	if reason != "" {
		return nil, reason
	}
	if found.unlike() {
		c := f.mixture(x, found)
		out.Residual, out.MaxZ = c.Rel, c.MaxZ
		return nil, ""
	}
	return x.fromLogarithms(found, heads)
}

// mixture compares an output with what recovered weights make of the right values.
func (f *fitter) mixture(x *tangent, found recovered) compare.Comparison {
	t, context := x.t, slices.Clone(x.t.Context)
	x.eachRow(func(n, i int) {
		for j := range t.Keys {
			if at := (n*t.Queries+i)*t.Keys + j; found.sigma[at] > 0 {
				num.AddScaled(found.weights[at]-t.Weights[at], t.Value[(n/t.Group*t.Keys+j)*t.ValueWidth:][:t.ValueWidth], context[(n*t.Queries+i)*t.ValueWidth:])
			}
		}
	})
	w, merged := f.p.Layer.Output, x.merged(context)
	want := t.Output.Expected()
	want.Value = make([]float64, len(f.got))
	for at := range want.Value {
		o := at % w.Out
		want.Value[at] = num.Dot(w.Weight[o*w.In:][:w.In], merged[at/w.Out*w.In:])
		if w.Bias != nil {
			want.Value[at] += w.Bias[o]
		}
	}
	return compare.Outputs(f.shape, f.got, want)
}

func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// fromLogarithms fits scores: log P is the score but for what all keys of a row share. Each score counts
// as much as it is certain: its weight over the noise of it. With a softcap scores are not linear in
// the parameters, and the fit is repeated.
func (x *tangent) fromLogarithms(found recovered, heads []int) (*oracle.Problem, string) {
	scores := len(x.t.Weights)
	certain := make([]float64, scores+x.t.Heads*x.t.Queries) // a sink's behind those of all keys
	x.eachPair(func(n, i, j, at int) {
		if w, s := found.weights[at], found.sigma[at]; slices.Contains(heads, n%x.heads) && w > certainty*s && s > 0 {
			certain[at] = w / s
		}
	})
	left := x.leftToSinks(found, certain)
	if reason := x.saturated(certain); reason != "" {
		return nil, reason
	}
	repeats := 1
	if x.p.Softcap > 0 {
		repeats = 4
	}
	for range repeats {
		target := make([]float64, len(certain))
		for at, c := range certain {
			switch {
			case c > 0 && at < scores:
				target[at] = math.Log(found.weights[at]) - x.t.Scores[at]
			case c > 0:
				target[at] = math.Log(left[at-scores]) - x.p.Sinks[(at-scores)/x.t.Queries%x.heads]
			}
		}
		a := operator{
			forward: func(step []float64) []float64 {
				ds := x.scores(x.parts(step))
				return x.centred(append(ds, make([]float64, len(certain)-len(ds))...), certain) // a sink's score is known
			},
			backward: func(v []float64) []float64 {
				step := make([]float64, len(x.mask))
				x.unscored(x.parts(step), x.uncentred(v, certain)[:scores])
				x.restrict(step)
				return step
			},
		}
		x = newTangent(x.moved(cgls(a, x.blocks(), x.centred(target, certain), len(x.mask))), x.free)
	}
	return x.p, ""
}

// saturated says why the certain scores are too few to find the parameters; "" when they suffice. In each
// row one score is spent on what all share.
func (x *tangent) saturated(certain []float64) string {
	m, t := x.free.maps[0], x.t
	counts := make([]int, headsOf(x.p.Layer, m))
	x.eachRow(func(n, i int) {
		row := -1
		for _, c := range certain[(n*t.Queries+i)*t.Keys:][:t.Keys] {
			if c > 0 {
				row++
			}
		}
		counts[n%x.heads*len(counts)/x.heads] += max(0, row)
	})
	linear := *x.p.Layer.Projections()[m]
	unknown := linear.Out / len(counts) * unknowns(linear)
	for h, n := range counts {
		if (x.free.heads == nil || slices.Contains(x.free.heads, h)) && n < unknown+surplus {
			return fmt.Sprintf("the softmax is saturated: %d scores of head %d are certain, and %d are needed", n, h, unknown+surplus)
		}
	}
	return ""
}

// leftToSinks is what the weights of each row leave to its sink, (N, L), and counts it where it is certain.
func (x *tangent) leftToSinks(found recovered, certain []float64) []float64 {
	left := make([]float64, x.t.Heads*x.t.Queries)
	if x.p.Sinks == nil {
		return left
	}
	x.eachRow(func(n, i int) {
		row, noise := n*x.t.Queries+i, 0.0
		left[row] = 1
		for at := row * x.t.Keys; at < (row+1)*x.t.Keys; at++ {
			left[row], noise = left[row]-found.weights[at], noise+found.sigma[at]
		}
		if noise > 0 && left[row] > certainty*noise {
			certain[len(found.weights)+row] = left[row] / noise
		}
	})
	return left
}

// centred takes the mean from each row of scores and its sink, all of them in units of their noise.
func (x *tangent) centred(s, certain []float64) []float64 {
	out := make([]float64, len(s))
	x.eachScored(func(places []int) {
		var sum, all float64
		for _, at := range places {
			u := certain[at]
			sum, all = sum+u*u*s[at], all+u*u
		}
		for _, at := range places {
			if certain[at] > 0 {
				out[at] = certain[at] * (s[at] - sum/all)
			}
		}
	})
	return out
}

// uncentred is the transpose of centred.
func (x *tangent) uncentred(r, certain []float64) []float64 {
	out := make([]float64, len(r))
	x.eachScored(func(places []int) {
		var sum, all float64
		for _, at := range places {
			u := certain[at]
			sum, all = sum+u*r[at], all+u*u
		}
		for _, at := range places {
			if u := certain[at]; u > 0 {
				out[at] = u * (r[at] - u*sum/all)
			}
		}
	})
	return out
}

// eachScored visits the places of the scores of each row, its sink's last.
func (x *tangent) eachScored(f func(places []int)) {
	places := make([]int, x.t.Keys+1)
	x.eachRow(func(n, i int) {
		row := n*x.t.Queries + i
		for j := range x.t.Keys {
			places[j] = row*x.t.Keys + j
		}
		places[x.t.Keys] = len(x.t.Weights) + row
		f(places)
	})
}

// certainty is how many sigma a fact must be away from what would not be one.
const certainty = 16

// unknowns are those of a row of a map.
func unknowns(l oracle.Linear) int {
	if l.Bias == nil {
		return l.In
	}
	return l.In + 1
}

// factored is where the search for value and output together begins: their products, one for each head,
// are found by least squares, and cut down to the rank that a product of the two has.
func (f *fitter) factored(x *tangent) (*oracle.Problem, string) {
	design := x.products()
	rows, columns := design.Dims()
	target := mat.NewDense(rows, x.outs, nil)
	for row, weight := range x.weight {
		for o := range x.outs {
			if weight != 0 {
				target.Set(row, o, weight*f.got[row*x.outs+o])
			}
		}
	}
	var all mat.Dense
	if err := all.Solve(design, target); err != nil {
		return nil, "least squares is singular: " + err.Error()
	}
	p, l := f.p.Clone(), f.p.Layer
	in, ev := l.Value.In, x.t.ValueWidth
	for g := range l.KVHeads {
		product := mat.NewDense(in, x.t.Group*x.outs, nil)
		for m := range x.t.Group {
			product.Slice(0, in, m*x.outs, (m+1)*x.outs).(*mat.Dense).Copy(all.Slice((g*x.t.Group+m)*in, (g*x.t.Group+m+1)*in, 0, x.outs))
		}
		var svd mat.SVD
		if !svd.Factorize(product, mat.SVDThin) {
			return nil, "a product has no singular values"
		}
		var u, v mat.Dense
		svd.UTo(&u)
		svd.VTo(&v)
		for c, s := range svd.Values(nil)[:min(ev, in, x.t.Group*x.outs)] {
			for i := range in {
				p.Layer.Value.Weight[(g*ev+c)*in+i] = math.Sqrt(s) * u.At(i, c)
			}
			for m := range x.t.Group {
				for o := range x.outs {
					p.Layer.Output.Weight[o*l.Output.In+(g*x.t.Group+m)*ev+c] = math.Sqrt(s) * v.At(m*x.outs+o, c)
				}
			}
		}
	}
	for i := range p.Layer.Value.Bias {
		p.Layer.Value.Bias[i] = 0 // what it adds to each row is in the output bias
	}
	for o := range p.Layer.Output.Bias {
		p.Layer.Output.Bias[o] = all.At(columns-1, o)
	}
	return p, ""
}

// products are what value and output together are fitted to, a row for each of the output: of each head the
// mean of its value inputs, then a 1.
func (x *tangent) products() *mat.Dense {
	in := x.p.Layer.Value.In
	free := upTo(in)
	bias := 0
	if x.p.Layer.Output.Bias != nil {
		bias = 1
	}
	design := mat.NewDense(len(x.weight), x.heads*in+bias, nil)
	for row, weight := range x.weight {
		if weight == 0 {
			continue
		}
		for h := range x.heads {
			for i, v := range x.mixed(row/x.t.Queries, h, row%x.t.Queries, free) {
				design.Set(row, h*in+i, weight*v)
			}
		}
		if bias == 1 {
			design.Set(row, x.heads*in, weight)
		}
	}
	return design
}
