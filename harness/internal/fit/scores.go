package fit

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/pattern"
)

// startOfScores returns a problem near the output, from which the search for queries or keys
// begins. Scores are linear in the parameters, and they are the logarithms of the recovered
// weights. If the context is no mixture of the values, no scores explain it: the problem is nil,
// and mixture compares the output with the nearest mixture. The reason says why the weights or
// scores cannot be found.
func (f *fitter) startOfScores(x *jacobian) (start *oracle.Problem, mixture compare.Comparison, reason string) {
	heads := num.UpTo(f.p.Layer.Heads)
	if x.free.heads != nil {
		heads = x.free.queryHeads(f.p.Layer)
	}
	recovered, reason := pattern.RecoverWeights(f.p, f.trace, f.got, heads)
	if reason != "" {
		return nil, mixture, reason
	}
	if recovered.FarFromMixtures() {
		return nil, f.mixture(x, recovered), ""
	}
	start, reason = x.fromLogarithms(f.ctx, recovered, heads)
	return start, mixture, reason
}

// mixture compares an output with the output of recovered weights and the right values.
func (f *fitter) mixture(x *jacobian, recovered pattern.Weights) compare.Comparison {
	t, context := x.t, slices.Clone(x.t.Context)
	x.eachRow(func(n, i int) {
		for j := range t.Keys {
			if at := (n*t.Queries+i)*t.Keys + j; recovered.Sigma[at] > 0 {
				num.AddScaled(recovered.Value[at]-t.Weights[at], x.value(n, j), x.row(context, n, i))
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

// logarithms holds recovered scores: the logarithms of weights, with an unknown constant in each
// row. All lists run over the keys' scores, (N, L, S), and then over the sinks' scores, (N, L).
type logarithms struct {
	*jacobian
	weight []float64 // recovered weights, and what they leave to the sinks
	// certain is the weight over its noise, the precision of the score. It is 0 where the score
	// is not certain or not needed.
	certain []float64
}

// fromLogarithms fits the free parameters to recovered scores, and returns the problem with them.
// With a softcap, scores are not linear in the parameters, and the fit is repeated.
func (x *jacobian) fromLogarithms(
	ctx context.Context, recovered pattern.Weights, heads []int,
) (*oracle.Problem, string) {
	s := x.logarithms(recovered, heads)
	if reason := s.saturated(); reason != "" {
		return nil, reason
	}
	repeats := 1
	if x.p.Softcap > 0 {
		repeats = 4
	}
	for range repeats {
		step := cgls(ctx, s.scoreOperator(), s.blocks(), s.centred(s.missingScores()), len(s.mask))
		s.jacobian = newJacobian(s.moved(step), s.free)
	}
	return s.p, ""
}

// logarithms lists the recovered scores of some heads.
func (x *jacobian) logarithms(recovered pattern.Weights, heads []int) *logarithms {
	scores, rows := len(x.t.Weights), x.t.Heads*x.t.Queries
	s := &logarithms{
		jacobian: x,
		weight:   slices.Concat(recovered.Value, make([]float64, rows)),
		certain:  make([]float64, scores+rows),
	}
	x.eachPair(func(n, i, j, at int) {
		w, sigma := recovered.Value[at], recovered.Sigma[at]
		if slices.Contains(heads, n%x.heads) && w > pattern.Certainty*sigma && sigma > 0 {
			s.certain[at] = w / sigma
		}
	})
	if x.p.Sinks != nil {
		s.addSinks(recovered.Sigma)
	}
	return s
}

// addSinks gives each sink the weight that the keys of its row leave.
func (s *logarithms) addSinks(sigma []float64) {
	scores := len(sigma)
	s.eachRow(func(n, i int) {
		row, left, noise := n*s.t.Queries+i, 1.0, 0.0
		for at := row * s.t.Keys; at < (row+1)*s.t.Keys; at++ {
			left, noise = left-s.weight[at], noise+sigma[at]
		}
		s.weight[scores+row] = left
		if noise > 0 && left > pattern.Certainty*noise {
			s.certain[scores+row] = left / noise
		}
	})
}

// saturated says that the certain scores are too few to find the parameters; "" if they suffice.
// In each row one score serves to find the constant.
func (s *logarithms) saturated() string {
	m, t := s.free.projections[0], s.t
	counts := make([]int, headsOf(s.p.Layer, m))
	s.eachRow(func(n, i int) {
		row := -1
		for _, c := range s.certain[(n*t.Queries+i)*t.Keys:][:t.Keys] {
			if c > 0 {
				row++
			}
		}
		counts[n%s.heads*len(counts)/s.heads] += max(0, row)
	})
	linear := *s.p.Layer.Projections()[m]
	unknowns := linear.In
	if linear.Bias != nil {
		unknowns++
	}
	needed := linear.Out/len(counts)*unknowns + surplus
	for h, n := range counts {
		if (s.free.heads == nil || slices.Contains(s.free.heads, h)) && n < needed {
			const text = "the softmax is saturated: %d scores of head %d are certain, and %d are needed"
			return fmt.Sprintf(text, n, h, needed)
		}
	}
	return ""
}

// missingScores returns the recovered scores minus the scores of the jacobian's problem.
func (s *logarithms) missingScores() []float64 {
	scores := len(s.t.Weights)
	missing := make([]float64, len(s.certain))
	for at, c := range s.certain {
		switch {
		case c > 0 && at < scores:
			missing[at] = math.Log(s.weight[at]) - s.t.Scores[at]
		case c > 0:
			missing[at] = math.Log(s.weight[at]) - s.p.Sinks[(at-scores)/s.t.Queries%s.heads]
		}
	}
	return missing
}

// scoreOperator returns the change of the centred scores for a step, and its transpose.
func (s *logarithms) scoreOperator() operator {
	scores := len(s.t.Weights)
	return operator{
		forward: func(step []float64) []float64 {
			ds := s.scores(s.parts(step))
			sinks := make([]float64, len(s.certain)-scores) // no step moves them
			return s.centred(append(ds, sinks...))
		},
		backward: func(v []float64) []float64 {
			step := make([]float64, len(s.mask))
			s.scoresTransposed(s.parts(step), s.centredTransposed(v)[:scores])
			s.restrict(step)
			return step
		},
	}
}

// centred subtracts the mean of each row, and puts all scores in units of their noise.
func (s *logarithms) centred(scores []float64) []float64 {
	out := make([]float64, len(scores))
	s.eachScored(func(places []int) {
		var sum, all float64
		for _, at := range places {
			u := s.certain[at]
			sum, all = sum+u*u*scores[at], all+u*u
		}
		for _, at := range places {
			if s.certain[at] > 0 {
				out[at] = s.certain[at] * (scores[at] - sum/all)
			}
		}
	})
	return out
}

func (s *logarithms) centredTransposed(r []float64) []float64 {
	out := make([]float64, len(r))
	s.eachScored(func(places []int) {
		var sum, all float64
		for _, at := range places {
			u := s.certain[at]
			sum, all = sum+u*r[at], all+u*u
		}
		for _, at := range places {
			if u := s.certain[at]; u > 0 {
				out[at] = u * (r[at] - u*sum/all)
			}
		}
	})
	return out
}

// eachScored visits the indices of each row's scores, its sink's last.
func (s *logarithms) eachScored(f func(places []int)) {
	places := make([]int, s.t.Keys+1)
	s.eachRow(func(n, i int) {
		row := n*s.t.Queries + i
		for j := range s.t.Keys {
			places[j] = row*s.t.Keys + j
		}
		places[s.t.Keys] = len(s.t.Weights) + row
		f(places)
	})
}
