package diagnose

import (
	"context"
	"fmt"
	"math"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// scaleFit asks whether an output could come from another scale of the scores: the one unknown is found in a
// wrong batch element, and the whole is computed again with it.
func scaleFit(p *oracle.Problem, shape []int, got []float64, wrongBatch int) Fit {
	out := Fit{Freed: "the scale of the scores", Residual: math.Inf(1), MaxZ: math.Inf(1)}
	if p.Scale == 0 {
		out.Refused = "the scale is 0"
		return out
	}
	const multiplications = 3e8
	if work := runs * attentionWork(p); work > multiplications {
		out.Refused = fmt.Sprintf("the case is too large: %.1g multiplications", work)
		return out
	}
	size := len(got) / shape[0]
	part := scaling{p.Element(wrongBatch).Cached(), got[wrongBatch*size:][:size]}
	scale := part.search(p.Scale)
	whole := p.Fork()
	whole.Scale = scale
	c := compare.Outputs(shape, got, whole.Run().Expected())
	out.Residual, out.MaxZ, out.Holds = c.Rel, c.MaxZ, c.OK() && c.Rel <= near
	if out.Holds {
		out.Narrowest = true
		out.Detail = fmt.Sprintf("the scale is %.6g, not %.6g: %.4g times as large", scale, p.Scale, scale/p.Scale)
	}
	return out
}

// runs is about how often a batch element is computed.
const runs = 40

// attentionWork is the multiplications of a batch element.
func attentionWork(p *oracle.Problem) float64 {
	query, key := p.Query.Shape, p.Key.Shape
	width, keys := float64(num.Last(query)), float64(key[len(key)-2])
	if p.Past != nil {
		keys += float64(p.Past.Key.Shape[2])
	}
	return float64(len(p.Query.Value)/query[0]) / width * 2 * keys * width
}

// scaling computes a part of a problem with other scales.
type scaling struct {
	p   *oracle.Problem
	got []float64
}

// search takes the nearest of a row of scales, and from there steps of least squares in the logarithm.
func (s scaling) search(right float64) float64 {
	const steps, small = 6, 1e-5
	best, least := right, math.Inf(1)
	for half := -8; half <= 8; half++ {
		scale := right * math.Pow(2, float64(half)/2)
		if _, off := s.at(scale); off < least {
			best, least = scale, off
		}
	}
	for range steps {
		here, off := s.at(best)
		ahead, _ := s.at(best * (1 + small))
		var slope, square float64
		for i, v := range here {
			d := (ahead[i] - v) / small
			if g := s.got[i] - v; !math.IsNaN(g * d) {
				slope, square = slope+d*g, square+d*d
			}
		}
		step := max(-0.5, min(0.5, slope/square))
		next := best * math.Exp(step)
		if _, after := s.at(next); !(after < off) {
			break
		}
		best = next
	}
	return best
}

// at is the output with a scale, and how far it is from what was got.
func (s scaling) at(scale float64) (y []float64, off float64) {
	p := s.p.Fork()
	p.Scale = scale
	f, _ := p.Rows(context.Background(), nil, oracle.ValuesAlone) // which never ends
	y = f.Value
	for i, v := range y {
		if d := s.got[i] - v; !math.IsNaN(d) {
			off += d * d
		}
	}
	return y, off
}
