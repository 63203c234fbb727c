package diagnose

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/replay"
)

// direction compares the directions of two arrays. Rows often share a mean: if inputs are all
// positive, or keys are many. Two means agree by chance, and hide the rest.
type direction struct {
	whole   float64 // the cosine
	centred float64 // the cosine after the mean row of each array is taken out
}

// newDirection compares arrays of the rows on which random weights are drawn. Only rows that see a
// key count.
func newDirection(in *input, values, others []float64) direction {
	width := num.Last(in.replays.Sampled.Truth.Shape)
	a, b := in.seeing(values, width), in.seeing(others, width)
	return direction{cosineOf(a, b), cosineOf(centred(a, width), centred(b, width))}
}

// within reports whether both cosines are at most as large as limits.
func (d direction) within(limits direction) bool {
	return math.Abs(d.whole) <= limits.whole && math.Abs(d.centred) <= limits.centred
}

// orMore returns limits that admit what either of two limits admits.
func (d direction) orMore(other direction) direction {
	return direction{math.Min(1, math.Max(d.whole, other.whole)), math.Min(1, math.Max(d.centred, other.centred))}
}

// times returns limits that are some times as large.
func (d direction) times(factor float64) direction {
	return direction{factor * d.whole, factor * d.centred}
}

// seeing returns the rows that see a key, of those on which random weights are drawn.
func (in *input) seeing(values []float64, width int) []float64 {
	var rows []float64
	for i := range len(values) / width {
		if in.visible[in.replays.Drawn().Row(i)] > 0 {
			rows = append(rows, values[i*width:][:width]...)
		}
	}
	return rows
}

// centred returns rows without their mean.
func centred(values []float64, width int) []float64 {
	mean, out := make([]float64, width), slices.Clone(values)
	rows := float64(len(values) / width)
	for i, v := range values {
		mean[i%width] += v / rows
	}
	for i := range out {
		out[i] -= mean[i%width]
	}
	return out
}

// cosineOf returns the cosine of the angle between two arrays; 1 if one of them is zero, because it
// tells nothing apart.
func cosineOf(a, b []float64) float64 {
	sizeA, sizeB := num.RMS(a), num.RMS(b)
	if sizeA == 0 || sizeB == 0 {
		return 1
	}
	sum := 0.0
	for i, v := range a {
		sum += v / sizeA * (b[i] / sizeB)
	}
	return sum / float64(len(a))
}

// geometry compares which rows of two arrays are alike: the correlation of the products of each two
// rows, without the mean row. Rows of a layer are alike where they attend to the same inputs,
// whatever the weights are.
func geometry(in *input, values, others []float64) float64 {
	width := num.Last(in.replays.Sampled.Truth.Shape)
	a, b := centred(in.seeing(values, width), width), centred(in.seeing(others, width), width)
	return cosineOf(centred(productsOfRows(a, width), 1), centred(productsOfRows(b, width), 1))
}

// productsOfRows returns the cosine of every two of at most mostRows rows.
func productsOfRows(values []float64, width int) []float64 {
	const mostRows = 200
	var products []float64
	rows := len(values) / width
	step := (rows + mostRows - 1) / mostRows
	for i := 0; i < rows; i += step {
		for j := i + step; j < rows; j += step {
			products = append(products, cosineOf(values[i*width:][:width], values[j*width:][:width]))
		}
	}
	return products
}

// randomKind holds the sizes and directions of outputs on a case with one kind of random weights.
type randomKind struct {
	title  string
	listed bool         // in the catalogue, and told even if it does not fit
	gain   replay.Range // of the draws
	limit  direction    // the largest cosines that another draw is likely to have
	alike  float64      // the least geometry of the draws
}

func (k randomKind) String() string {
	return fmt.Sprintf("%s (%.3g to %.3g here)", k.title, k.gain.Min, k.gain.Max)
}

const (
	// draws is how often each kind of random weights is drawn.
	draws = 8
	// chance is how many times larger than the largest cosine of these draws another's may be. One
	// in thirty is larger.
	chance = 1.5
)

// randomWeights returns every kind of random weights that the case can see. It reports false if ctx
// ended before all were drawn.
func randomWeights(ctx context.Context, in *input) (all []randomKind, done bool) {
	known, err := in.replays.Unloaded(ctx, draws)
	for _, r := range known {
		all = append(all, newRandomKind(in, r))
	}
	return all, err == nil
}

func newRandomKind(in *input, r replay.Replay) randomKind {
	k := randomKind{title: r.Mistake.Title, listed: r.Mistake.ID != "", gain: r.Band().Gain}
	k.alike = 1
	for _, values := range r.Outputs {
		k.alike = math.Min(k.alike, geometry(in, values, in.replays.Drawn().Truth.Value))
		d := newDirection(in, values, in.replays.Drawn().Truth.Value)
		k.limit = k.limit.orMore(direction{chance * math.Abs(d.whole), chance * math.Abs(d.centred)})
	}
	return k
}

// fits reports whether an output is as large as random weights of the kind make it. The range of
// the draws is widened by its own square, by beyond at most.
func (k randomKind) fits(gain float64) bool {
	const least = 1.15
	spread := k.gain.Max / k.gain.Min
	wider := math.Max(least, math.Min(beyond, spread*spread))
	return gain >= k.gain.Min/wider && gain <= k.gain.Max*wider
}

// ordinary reports whether the gain is one that many mistakes have.
func ordinary(gain float64) bool { return gain >= 1/sameSize && gain <= sameSize }
