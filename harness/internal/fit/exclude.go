package fit

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// exclude rules out the projections that do not explain the output. A projection whose own fit
// leaves a much larger residual is out. Any other one is drawn anew in the right computation, and
// changed so that the output is about as far off as the given one. If the best explanation cannot
// explain these outputs, the projection is out too. If the best
// explanation explains the outputs of two other projections, it proves nothing, and all
// explanations are withdrawn.
func (f *fitter) exclude(at *localisation, found [][]attempt, rel float64) {
	const share = 0.05 // of the output's distance from the truth: no residual below is large
	best := slices.MinFunc(at.holding, func(a, b attempt) int { return cmp.Compare(a.Residual, b.Residual) })
	for i, m := range order {
		if slices.ContainsFunc(at.holding, func(x attempt) bool { return slices.Contains(x.free.projections, m) }) {
			continue
		}
		whole := found[i][slices.IndexFunc(found[i], func(x attempt) bool { return x.free.whole() })]
		switch {
		case whole.contradicted:
		case whole.Refused == "" && whole.Residual >= math.Max(compare.MinMargin*best.Residual, share*rel):
			at.apart = math.Min(at.apart, whole.Residual)
		case f.explainsOther(best.free, m, rel):
			at.confusable = append(at.confusable, m)
		default:
			at.untested = append(at.untested, whole)
		}
	}
	if len(at.confusable) > 1 {
		at.withdraw()
	}
}

// withdraw refuses all explanations.
func (at *localisation) withdraw() {
	for i, x := range at.tried {
		if x.Explains() {
			at.tried[i].Holds = false
			at.tried[i].Refused = "on this case it would explain other maps, drawn anew, as well"
		}
	}
	at.holding, at.confusable, at.untested = nil, nil, nil
}

// explainsOther reports whether a fit explains the output of another projection, drawn anew or
// moved towards that so far that the output is off by about rel.
func (f *fitter) explainsOther(free freeSet, m Projection, rel float64) bool {
	other := free.counterpart(f.p.Layer, m)
	const smaller = 0.5 // a change of nearly the same size says nothing new
	wrong := redrawn(f.p, other, 1)
	c := compare.Outputs(f.shape, wrong.Run().Value, f.trace.Output.Expected())
	if c.OK() {
		return false // the other projection changes nothing on this case
	}
	return f.explainsOutput(free, wrong) ||
		rel < smaller*c.Rel && f.explainsOutput(free, redrawn(f.p, other, rel/c.Rel))
}

// explainsOutput reports whether a fit explains the output of a wrong problem.
func (f *fitter) explainsOutput(free freeSet, wrong *oracle.Problem) bool {
	drawn := &fitter{
		ctx: f.ctx, p: f.p, trace: f.trace, shape: f.shape, got: wrong.Run().Value, placements: f.placements,
	}
	return !compare.Outputs(f.shape, drawn.got, f.trace.Output.Expected()).OK() && drawn.fit(free).Explains()
}

// redrawn returns a problem with its free parameters moved towards others of the same size, by a
// share of the way.
func redrawn(p *oracle.Problem, free freeSet, share float64) *oracle.Problem {
	q := p.Clone()
	for _, m := range free.projections {
		r := rand.New(rand.NewPCG(7, uint64(m)))
		l := q.Layer.Projections()[m]
		weight, bias := num.RMS(l.Weight), num.RMS(l.Bias)
		move := func(at *float64, size float64) { *at += share * (size*r.NormFloat64() - *at) }
		for o := range l.Out {
			for i := range l.In + 1 {
				switch {
				case !free.frees(q.Layer, m, o, i):
				case i < l.In:
					move(&l.Weight[o*l.In+i], weight)
				default:
					move(&l.Bias[o], bias)
				}
			}
		}
	}
	return q
}
