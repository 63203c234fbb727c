package selftest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
)

// Noise counts outputs that are right but for random numbers in a part. Blamed counts the noisy
// outputs that were blamed on a mistake, a number, parameters or a part that nobody wrote.
type Noise struct {
	Planted int `json:"planted"`
	Blamed  int `json:"blamed"`
}

// noisyParts are the parts of an output that get random numbers.
var noisyParts = []struct {
	name string
	// add adds the numbers that draw returns.
	add func(t *trial, y []float64, r *rand.Rand, draw func() float64)
}{
	{"a batch element", func(t *trial, y []float64, r *rand.Rand, draw func() float64) {
		batch := t.truth.Shape[0]
		addTo(y, r.IntN(batch)*len(y)/batch, len(y)/batch, 1, draw)
	}},
	{"a row", func(t *trial, y []float64, r *rand.Rand, draw func() float64) {
		width := t.width()
		addTo(y, r.IntN(len(y)/width)*width, width, 1, draw)
	}},
	{"a head", func(t *trial, y []float64, r *rand.Rand, draw func() float64) {
		if l := t.problem.Layer; l != nil {
			t.addToContext(y, r.IntN(l.Heads), draw)
			return
		}
		shape := t.truth.Shape
		size := shape[len(shape)-2] * t.width()
		addTo(y, r.IntN(len(y)/size)*size, size, 1, draw)
	}},
	{"a feature", func(t *trial, y []float64, r *rand.Rand, draw func() float64) {
		width := t.width()
		addTo(y, r.IntN(width), len(y)/width, width, draw)
	}},
	{"an element", func(_ *trial, y []float64, r *rand.Rand, draw func() float64) {
		addTo(y, r.IntN(len(y)), 1, 1, draw)
	}},
}

// width returns the number of features of the output.
func (t *trial) width() int { return t.truth.Shape[len(t.truth.Shape)-1] }

// addTo adds drawn numbers to elements of an output.
func addTo(y []float64, first, count, step int, draw func() float64) {
	for n := range count {
		y[first+n*step] += draw()
	}
}

// addToContext adds drawn numbers to the context of a head, which the output weight spreads over
// all features.
func (t *trial) addToContext(y []float64, head int, draw func() float64) {
	w := t.problem.Layer.Output
	features := w.In / t.problem.Layer.Heads
	for row := range len(y) / w.Out {
		for c := head * features; c < (head+1)*features; c++ {
			d := draw()
			for o := range w.Out {
				y[row*w.Out+o] += d * w.Weight[o*w.In+c]
			}
		}
	}
}

// judgeNoise adds random numbers to a part of the right output. Nothing but noise may be found.
func (t *trial) judgeNoise(ctx context.Context, e Extent) error {
	for _, part := range noisyParts {
		r := t.rand("noise in " + part.name)
		for range e.Noises {
			if err := ctx.Err(); err != nil {
				return err
			}
			size := math.Pow(10, -3*r.Float64()) * rms(t.truth.Value)
			y, _ := inFloat32(t.problem, t.truth, r)
			part.add(t, y, r, func() float64 { return size * r.NormFloat64() })
			for i, v := range y {
				y[i] = float64(float32(v))
			}
			out := oracle.FromBatchFirst(t.c.Layer.InputLayout, oracle.Array{Shape: t.truth.Shape, Value: y})
			result, err := t.without("")(ctx, out.Shape, out.Value)
			if err != nil {
				return err
			}
			t.found.Noise.Planted++
			if said := blamed(result); said != "" {
				t.found.Noise.Blamed++
				t.found.Findings = append(t.found.Findings, Finding{
					wrongName, "noise", t.name, fmt.Sprintf("noise of %.2g in %s", size, part.name), said,
				})
			}
		}
	}
	return nil
}

// blamed returns what a diagnosis blames the output on; "" if nothing.
func blamed(r report.Result) string {
	var all []string
	if d := r.Diagnosis; len(d.Matches)+len(d.Numbers) > 0 {
		all = append(all, answer(r))
	}
	for _, f := range r.Diagnosis.Fits {
		if f.Explains() || f.Named() {
			all = append(all, "another of "+f.Freed)
		}
	}
	if u := r.Diagnosis.Unwritten; u != nil {
		all = append(all, u.Title)
	}
	return strings.Join(all, " or ")
}

// rms returns the root mean square of the numbers in a list.
func rms(list []float64) float64 {
	sum, count := 0.0, 0.0
	for _, v := range list {
		if !math.IsNaN(v) {
			sum, count = sum+v*v, count+1
		}
	}
	return math.Sqrt(sum / math.Max(1, count))
}
