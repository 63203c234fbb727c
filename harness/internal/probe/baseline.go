package probe

import (
	"context"
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/subject"
)

// prober runs a subject again on one case, with changes, and compares the outputs.
type prober struct {
	ctx    context.Context
	live   subject.Live
	at     positions
	c      *fixture.Case
	output *attention.Tensor // of the run that was judged
	base   *attention.Tensor // of the same case, run again
	spoke  map[string]bool   // ids of the probes that found something
	awake  bool              // other inputs gave another output

	scale float64 // root mean square of the output
	small float64 // a change up to this may be rounding
	large float64 // a change beyond this is no rounding

	// freshDiffer reports that a fresh layer gives another output. Outputs are then compared within
	// one layer.
	freshDiffer bool
	// erratic reports that one layer gives two outputs for one case. Nothing can be compared.
	erratic bool
}

// A change is the root mean square of the difference in a row, over the root mean square of the
// whole output.
//
// Rounding changes a row by about 1e-6, or by as much as PyTorch's own float32 result is off. A
// hundred times that may be rounding in any implementation. One token among T changes a row by
// about 1/sqrt(T). Between rounding and 2 % a probe says nothing: an implementation that quantizes
// all tokens together may move that much.
const (
	leastSmall = 1e-4
	leastLarge = 0.02
)

// prepare runs the case again. It reports false if there is nothing to probe.
func (p *prober) prepare(c *fixture.Case) bool {
	own := *c
	own.Unrounded = nil // the probes change inputs in float32
	at, ok := positionsOf(&own)
	if !ok || p.output == nil || !slices.Equal(p.output.Shape, c.Output.Shape) {
		return false
	}
	p.at, p.c = at, &own
	noise := 100 * errorOfPyTorch(c) / rms(c.Output.Data)
	p.small, p.large = max(leastSmall, noise), max(leastLarge, noise)
	again, err := p.live.Series(p.ctx, p.c, p.c)
	if err != nil || !slices.Equal(again[0].Shape, p.output.Shape) || !slices.Equal(again[1].Shape, p.output.Shape) {
		return false
	}
	p.base, p.scale = again[0], rms(again[0].Data)
	p.freshDiffer = p.change(p.output.Data, p.base.Data) > p.small
	p.erratic = p.change(again[0].Data, again[1].Data) > p.small
	return true
}

// errorOfPyTorch returns the root mean square error of PyTorch's result in the precision of the
// case.
func errorOfPyTorch(c *fixture.Case) float64 {
	sum := 0.0
	for i, v := range c.Output.Data {
		if d := float64(v) - c.Truth[i]; !math.IsNaN(d) {
			sum += d * d
		}
	}
	return math.Sqrt(sum / float64(len(c.Truth)))
}

// rms returns the root mean square of the finite values; 0 if there are none.
func rms(values []float32) float64 {
	sum, n := 0.0, 0
	for _, v := range values {
		if w := float64(v); !math.IsNaN(w) && !math.IsInf(w, 0) {
			sum, n = sum+w*w, n+1
		}
	}
	return math.Sqrt(sum / max(1, float64(n)))
}

// with returns the outputs before and after a change of the case. It reports false if they cannot
// be compared.
func (p *prober) with(changed *fixture.Case) (before, after *attention.Tensor, ok bool) {
	if p.erratic {
		return nil, nil, false
	}
	cases := []*fixture.Case{changed}
	if p.freshDiffer {
		cases = []*fixture.Case{p.c, changed}
	}
	out, err := p.live.Series(p.ctx, cases...)
	if err != nil {
		return nil, nil, false
	}
	before, after = p.base, out[len(out)-1]
	if p.freshDiffer {
		before = out[0]
	}
	return before, after, slices.Equal(before.Shape, after.Shape) && slices.Equal(before.Shape, p.base.Shape)
}

// change returns the root mean square of a difference, over the output's. It is infinite if one
// value is finite and the other is not.
func (p *prober) change(before, after []float32) float64 {
	sum := 0.0
	for i, v := range before {
		x, y := float64(v), float64(after[i])
		switch {
		case x == y || math.IsNaN(x) && math.IsNaN(y):
		case math.IsNaN(x-y) || math.IsInf(x-y, 0):
			return math.Inf(1)
		default:
			sum += (x - y) * (x - y)
		}
	}
	if sum == 0 {
		return 0
	}
	return math.Sqrt(sum/float64(len(before))) / p.scale
}

func finite(values []float32) bool {
	return !slices.ContainsFunc(values, func(v float32) bool {
		return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0)
	})
}
