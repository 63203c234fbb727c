package fit

import (
	"context"
	"fmt"
	"math"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// scaleFit asks whether another scale of the scores would give the output. It finds the scale on
// a wrong batch element, and computes the whole case again with it.
func scaleFit(p *oracle.Problem, shape []int, got []float64, wrongBatch int) Fit {
	out := Fit{Freed: "the scale of the scores", Residual: math.Inf(1), MaxZ: math.Inf(1)}
	if p.Scale == 0 {
		out.Refused = "the scale is 0"
		return out
	}
	const runs = 40 // about how often the search computes the batch element
	const most = 3e8
	if work := runs * attentionWork(p); work > most {
		out.Refused = fmt.Sprintf("the case is too large: %.1g multiplications", work)
		return out
	}
	size := len(got) / shape[0]
	part := scaling{p.Element(wrongBatch).Cached(), got[wrongBatch*size:][:size]}
	scale := part.search(p.Scale)
	whole := p.Fork()
	whole.Scale = scale
	c := compare.Outputs(shape, got, whole.Run().Expected())
	out.Residual, out.MaxZ, out.Holds = c.Rel, c.MaxZ, c.Explained()
	if out.Holds {
		out.Narrowest = true
		out.Detail = fmt.Sprintf("the scale is %.6g, not %.6g: %.4g times as large", scale, p.Scale, scale/p.Scale)
	}
	return out
}

// attentionWork returns the number of multiplications for a batch element.
func attentionWork(p *oracle.Problem) float64 {
	query, key := p.Query.Shape, p.Key.Shape
	width, keys := float64(num.Last(query)), float64(key[len(key)-2])
	if p.Past != nil {
		keys += float64(p.Past.Key.Shape[len(p.Past.Key.Shape)-2])
	}
	return float64(len(p.Query.Value)/query[0]) / width * 2 * keys * width
}

// scaling computes a part of a problem with other scales.
type scaling struct {
	p   *oracle.Problem
	got []float64
}

// search tries scales from 1/16 to 16 times the right one, and improves the nearest by steps of
// least squares in the scale's logarithm.
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

// at returns the output with a scale, and its squared distance from the output to explain.
func (s scaling) at(scale float64) (y []float64, off float64) {
	p := s.p.Fork()
	p.Scale = scale
	f, _ := p.Rows(context.Background(), nil, oracle.ValuesAlone) // a background context never ends
	y = f.Value
	for i, v := range y {
		if d := s.got[i] - v; !math.IsNaN(d) {
			off += d * d
		}
	}
	return y, off
}
