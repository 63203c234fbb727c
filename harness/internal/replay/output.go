package replay

import (
	"context"
	"fmt"
	"math"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
)

// Cut describes the work that a search left out because its context ended; "" if it finished.
type Cut string

// Output is an output of a case beside the replays that may explain it. Nobody writes to it.
type Output struct {
	Case       *Case
	Got        []float64
	Comparison compare.Comparison // with the truth
	Sampled    Sampled
	Early      Sampled // the same in the early rows, if the case has any

	// Visible holds the mistakes that the sample sees. Those of a small case include random ones
	// and lower precisions.
	Visible    []Replay
	Candidates []Replay // replayable mistakes that may explain the output
}

// Sampled is an output in the sampled rows of its case.
type Sampled struct {
	Sample
	Got        []float64
	Comparison compare.Comparison // with the truth
}

// NewOutput makes the mistakes of a case, and puts an output of the right shape beside them. Of a
// large case it leaves out random mistakes and lower precisions.
func NewOutput(ctx context.Context, c *Case, got []float64, comparison compare.Comparison) (Output, Cut) {
	o := Output{
		Case: c, Got: got, Comparison: comparison,
		Sampled: Sampled{Sample: c.sample, Got: got, Comparison: comparison},
	}
	if c.sample.Partial() {
		o.Sampled = o.in(c.sample)
	}
	if c.early != nil {
		o.Early = o.in(c.early.sample)
	}
	all, missing := c.replays(ctx, c.atOnce)
	for _, r := range all {
		if r.visible() {
			o.Visible = append(o.Visible, r)
		}
		if r.Mistake.Replayable() && (r.visible() || c.sample.Partial()) {
			o.Candidates = append(o.Candidates, r)
		}
	}
	if missing > 0 {
		const text = "%d of %d mistakes were not tried on this case, and no two at once"
		return o, Cut(fmt.Sprintf(text, missing, len(c.known)))
	}
	return o, ""
}

// in returns the output in some rows.
func (o Output) in(s Sample) Sampled {
	got := rowsOf(o.Got, s.Rows, o.width())
	return Sampled{Sample: s, Got: got, Comparison: compare.Outputs(s.Truth.Shape, got, s.Truth)}
}

// Of returns the output in the rows of a replay.
func (o Output) Of(r Replay) Sampled {
	if r.Early {
		return o.Early
	}
	return o.Sampled
}

// Drawn returns the output in the rows on which random weights are drawn.
func (o Output) Drawn() Sampled {
	if o.Case != nil && o.Case.early != nil {
		return o.Early
	}
	return o.Sampled
}

// OnSample returns the output for draws on the sample, and whether they are otherwise made on early
// rows.
func (o Output) OnSample() (sampled Output, early bool) {
	if o.Case == nil || o.Case.early == nil {
		return o, false
	}
	c := *o.Case
	c.early = nil
	o.Case = &c
	return o, true
}

// SampledValues returns the output of a mistake, which is not random, in the sampled rows.
func (o Output) SampledValues(r Replay) []float64 { return o.Case.sampledValues(r) }

// width returns the number of elements in a row.
func (o Output) width() int { return o.Comparison.WantShape[len(o.Comparison.WantShape)-1] }

// distance returns how far the output is from a replay, in the rows of the replay.
func (o Output) distance(r Replay) float64 { return compare.Residual(o.Of(r).Got, r.Outputs[0]) }

// Nearest returns the candidate whose values come nearest to the output, and its distance, which
// is infinite if there is none.
func (o Output) Nearest() (m catalogue.Mistake, distance float64) {
	distance = math.Inf(1)
	for _, r := range o.Candidates {
		if d := o.distance(r); d < distance {
			m, distance = r.Mistake, d
		}
	}
	return m, distance
}

// Towards returns the cosine between the output's error and a replay's, in the rows of the replay
// and in units of the truth's sigma; 0 if either has no error.
func (o Output) Towards(r Replay) float64 {
	s := o.Of(r)
	return cosine(s.Got, s.Truth, compare.Expected{Value: r.Outputs[0]})
}

// inNoise returns the root mean square of an output's distance from other values, in units of
// sigma. It is infinite if one of two elements alone is finite, or if no element has noise.
func inNoise(got, values, sigma []float64) float64 {
	off, noisy := 0.0, 0.0
	for i, v := range values {
		switch g := got[i]; {
		case math.IsNaN(v) && math.IsNaN(g):
		case math.IsNaN(v-g) || math.IsInf(v-g, 0):
			return math.Inf(1)
		case sigma[i] > 0:
			d := (v - g) / sigma[i]
			off, noisy = off+d*d, noisy+1
		}
	}
	if noisy == 0 {
		return math.Inf(1)
	}
	return math.Sqrt(off / noisy)
}

// cosine returns the cosine between the errors of an output and of another result, in units of
// sigma; 0 if either has no error.
func cosine(got []float64, truth, other compare.Expected) float64 {
	ab, aa, bb := errorProducts(got, truth, other)
	if aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}

// progressBesideGain returns how far an output went on the way from a start to another result: 0 at
// the start, 1 at the other result, NaN if the two are equal. It ignores a common factor of all
// elements: the roundings of other steps may give one as well.
func progressBesideGain(got []float64, start, other compare.Expected) float64 {
	var size, bg float64
	each := func(do func(a, b, gain float64)) {
		for i, w := range start.Value {
			if s := start.Sigma[i]; s > 0 {
				do((got[i]-w)/s, (other.Value[i]-w)/s, other.Value[i]/s)
			}
		}
	}
	each(func(_, b, gain float64) { size, bg = size+gain*gain, bg+b*gain })
	var ab, bb float64
	each(func(a, b, gain float64) {
		b -= bg / size * gain
		ab, bb = ab+a*b, bb+b*b
	})
	return ab / bb
}

// errorProducts returns the scalar products of an output's error a and another result's error b,
// in units of sigma.
func errorProducts(got []float64, truth, other compare.Expected) (ab, aa, bb float64) {
	for i, w := range truth.Value {
		if s := truth.Sigma[i]; s > 0 {
			a, b := (got[i]-w)/s, (other.Value[i]-w)/s
			ab, aa, bb = ab+a*b, aa+a*a, bb+b*b
		}
	}
	return ab, aa, bb
}
