package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/replay"
)

// The charts are drawings of this size, whose horizontal axis is logarithmic.
const (
	chartWidth  = 640
	chartHeight = 120
)

// axis is a logarithmic axis from one power of ten to another.
type axis struct{ from, to int }

// at returns the place of a value on the axis, which ends at its limits.
func (a axis) at(value float64) float64 {
	if !(value > 0) {
		return 0
	}
	part := (math.Log10(value) - float64(a.from)) / float64(a.to-a.from)
	return math.Round(10*chartWidth*min(1, max(0, part))) / 10
}

// tick is a power of ten on an axis.
type tick struct {
	X    float64
	Text string
}

func (a axis) ticks(step int) []tick {
	var all []tick
	for e := a.from; e <= a.to; e += step {
		all = append(all, tick{a.at(math.Pow10(e)), fmt.Sprintf("1e%d", e)})
	}
	return all
}

// magnitudes is the chart of all hypotheses: how much of the output each leaves unexplained.
type magnitudes struct {
	Width, Height int
	Noise         float64 // right edge of what rounding leaves
	Ticks         []tick
	Dots          []dot
	Nearest       []dot  // the nearest few, for the table
	Winner        *label // of the first that gives the output; nil if none does
	Margin        string
}

// label is the name of a dot, on its left or right side.
type label struct {
	X, Y     float64
	ID, Side string
}

// newLabel puts the name of a dot on the side where the chart has room.
func newLabel(d dot) *label {
	const away, middle = 10, chartWidth / 2
	l := &label{X: d.X + away, Y: d.Y + 4, ID: d.ID, Side: "right"}
	if d.X > middle {
		l.X, l.Side = d.X-away, "left"
	}
	return l
}

// dot is one hypothesis.
type dot struct {
	X, Y     float64
	ID, Text string
	Best     bool // gives the output to rounding
}

// newMagnitudes draws the distance of the output from every known mistake, and from the truth.
func newMagnitudes(r Result) *magnitudes {
	if len(r.Diagnosis.Distances) == 0 {
		return nil
	}
	a := axis{-9, 1}
	m := &magnitudes{Width: chartWidth, Height: chartHeight, Ticks: a.ticks(2), Noise: a.at(noiseOf(r))}
	for i, d := range r.Diagnosis.Distances {
		best := slices.ContainsFunc(r.Diagnosis.Matches, func(match replay.Match) bool { return match.ID() == d.ID })
		id := d.ID
		if d.Where != "" {
			id += " in " + d.Where
		}
		m.Dots = append(m.Dots, dot{
			X: a.at(d.Residual), Y: float64(20 + i*37%80), ID: id, Text: fmt.Sprintf("%.2g", d.Residual), Best: best,
		})
	}
	for _, n := range r.Diagnosis.Numbers {
		found := dot{X: a.at(n.Residual), Y: 60, ID: n.Label(), Text: fmt.Sprintf("%.2g", n.Residual), Best: true}
		m.Dots = append([]dot{found}, m.Dots...)
	}
	if i := slices.IndexFunc(m.Dots, func(d dot) bool { return d.Best }); i >= 0 {
		m.Winner = newLabel(m.Dots[i])
	}
	right := dot{X: a.at(r.Comparison.Rel), Y: 10, ID: "no mistake", Text: fmt.Sprintf("%.2g", r.Comparison.Rel)}
	m.Dots = append(m.Dots, right)
	m.Nearest = append(slices.Clone(m.Dots[:min(8, len(m.Dots)-1)]), right)
	if matches := r.Diagnosis.Matches; len(matches) > 0 && !math.IsInf(matches[0].Margin, 0) {
		m.Margin = fmt.Sprintf("%.0f", matches[0].Margin)
	}
	return m
}

// noiseOf returns the relative error that a correct implementation may have.
func noiseOf(r Result) float64 {
	noise, size := 0.0, 0.0
	for i, s := range r.Want.Sigma {
		noise, size = noise+s*s, size+r.Want.Value[i]*r.Want.Value[i]
	}
	if size == 0 {
		return 0
	}
	return r.Comparison.Limits.RMS * math.Sqrt(noise/size)
}

// distances is the chart of z: how many elements are how far from the truth, beside the number that
// normal noise would give.
type distances struct {
	Width, Height int
	Limit         float64 // place of the largest accepted z
	Ticks         []tick
	Bars          []bar
}

// bar counts the elements of one range of z.
type bar struct {
	X, End, Y, Width, Height float64
	Expected                 float64 // height of the line of normal noise above the axis
	Text                     string
}

// newDistances counts z in quarters of a decade from 0.01 to 1e6.
func newDistances(r Result) *distances {
	z := r.Comparison.Z
	if len(z) == 0 {
		return nil
	}
	const perDecade, from, to = 4, -2, 6
	a := axis{from, to}
	counts := make([]int, (to-from)*perDecade)
	for _, v := range z {
		n := 0
		if v > 0 {
			n = int(math.Floor((min(math.Log10(v), to) - from) * perDecade))
		}
		counts[min(len(counts)-1, max(0, n))]++
	}
	most := float64(slices.Max(counts))
	d := &distances{Width: chartWidth, Height: chartHeight, Limit: a.at(r.Comparison.Limits.Z), Ticks: a.ticks(1)}
	for i, count := range counts {
		low := math.Pow(10, from+float64(i)/perDecade)
		high := math.Pow(10, from+float64(i+1)/perDecade)
		normal := float64(len(z)) * (math.Erf(high/math.Sqrt2) - math.Erf(low/math.Sqrt2))
		height := rounded(chartHeight * float64(count) / most)
		d.Bars = append(d.Bars, bar{
			X: a.at(low), End: a.at(high), Width: rounded(a.at(high) - a.at(low)), Y: chartHeight - height, Height: height,
			Expected: rounded(chartHeight - min(chartHeight, chartHeight*normal/most)),
			Text:     fmt.Sprintf("z from %.2g to %.2g: %d of %d elements, normal noise gives %.0f", low, high, count, len(z), normal),
		})
	}
	return d
}

func rounded(x float64) float64 { return math.Round(10*x) / 10 }
