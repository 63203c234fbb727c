package probe

import (
	"context"
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/subject"
)

// bench is what probes work with.
type bench struct {
	ctx    context.Context
	live   subject.Live
	grid   grid
	c      *fixture.Case
	output *attention.Tensor // of the run that was judged
	base   *attention.Tensor // the same again
	met    map[string]bool   // probes that spoke
	awake  bool              // other inputs have given another output

	scale float64 // root mean square of the output
	still float64 // changes up to this are rounding
	far   float64 // changes beyond this are none

	sameLayer bool // fresh layers differ: what is compared must come from one
	erratic   bool // one layer differs from itself, too: nothing can be compared
}

// A change is measured by the root mean square of what a row changes, over that of the whole output.
// Rounding changes a row by about 1e-6 of it, or by what PyTorch's own float32 result of the case is
// off; a hundred times that may be rounding in any implementation. A token that takes part changes a
// row by about 1/sqrt(T) of T tokens. Between rounding and 2 % nothing is said: an implementation that
// quantizes all tokens together may move that much.
const (
	leastStill = 1e-4
	leastFar   = 0.02
)

// prepare runs the case again. It says false where there is nothing to probe.
func (b *bench) prepare(c *fixture.Case) bool {
	g, ok := gridOf(c)
	if !ok || b.output == nil || !slices.Equal(b.output.Shape, c.Output.Shape) {
		return false
	}
	own := *c
	own.Unrounded = nil // what is changed is changed in float32
	g.c, b.grid, b.c = &own, g, &own
	torch := float64(0)
	for i, v := range c.Output.Data {
		if d := float64(v) - c.Truth[i]; !math.IsNaN(d) {
			torch += d * d
		}
	}
	noise := 100 * math.Sqrt(torch/float64(len(c.Truth))) / rms(c.Output.Data)
	b.still, b.far = max(leastStill, noise), max(leastFar, noise)
	again, err := b.live.Series(b.ctx, b.c, b.c)
	if err != nil || !slices.Equal(again[0].Shape, b.output.Shape) || !slices.Equal(again[1].Shape, b.output.Shape) {
		return false
	}
	b.base, b.scale = again[0], rms(again[0].Data)
	b.sameLayer = b.between(b.output, b.base) > b.still
	b.erratic = b.between(again[0], again[1]) > b.still
	return true
}

// rms is the root mean square of the finite values; 0 of none.
func rms(values []float32) float64 {
	sum, n := 0.0, 0
	for _, v := range values {
		if w := float64(v); !math.IsNaN(w) && !math.IsInf(w, 0) {
			sum, n = sum+w*w, n+1
		}
	}
	return math.Sqrt(sum / max(1, float64(n)))
}

// after gives the outputs before and after a change. It says false where they cannot be compared.
func (b *bench) after(c *fixture.Case) (was, is *attention.Tensor, ok bool) {
	cases := []*fixture.Case{b.c, c}
	if b.erratic {
		return nil, nil, false
	}
	if !b.sameLayer {
		cases = cases[1:]
	}
	out, err := b.live.Series(b.ctx, cases...)
	if err != nil {
		return nil, nil, false
	}
	was, is = b.base, out[len(out)-1]
	if b.sameLayer {
		was = out[0]
	}
	return was, is, slices.Equal(was.Shape, is.Shape) && slices.Equal(was.Shape, b.base.Shape)
}

// between is how far two outputs are apart.
func (b *bench) between(was, is *attention.Tensor) float64 { return b.apart(was.Data, is.Data) }

// apart is the root mean square of a difference over that of the output; infinite where one is finite
// and the other is not.
func (b *bench) apart(was, is []float32) float64 {
	sum := 0.0
	for i, v := range was {
		x, y := float64(v), float64(is[i])
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
	return math.Sqrt(sum/float64(len(was))) / b.scale
}

func finite(values []float32) bool {
	return !slices.ContainsFunc(values, func(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) })
}
