package diagnose

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// rounding decides if the errors fit the noise of a lower precision in every row and every
// feature: nothing stands out, and the errors have no direction. Parameters that are slightly off
// everywhere look the same.
func rounding(ctx context.Context, in *input, _ fit.Result) answer {
	const least = 0.1 // of rms z in a lower precision: 0.33 to 1.06 on the committed cases
	if standsOut(in) || directed(in) {
		return answer{}
	}
	if c := in.comparison; c.MaxZ <= compare.MaxZ {
		const text = "no element is outside the noise by itself, but all together are %.2g times as noisy as sigma, " +
			"at most %.1f is allowed"
		return answer{finding: findingf(Rounding, text, c.RMSZ, c.Limits.RMS)}
	}
	for _, p := range []struct {
		bits      int
		stored    string // the arithmetic whose numbers the output holds
		factors   string // the arithmetics that give other numbers
		precision oracle.Precision
	}{
		{11, "float16", "TensorFloat-32 or factors of float16", oracle.Float16},
		{8, "bfloat16", "factors of bfloat16", oracle.BFloat16},
	} {
		f, err := in.problem.In(p.precision).Rows(ctx, in.replays.Sampled.Rows, oracle.WithNoise)
		if err != nil {
			return answer{cut: "the noise of fewer bits, and no two mistakes at once"}
		}
		low := f.Expected()
		low.Value = in.replays.Sampled.Truth.Value
		if c := compare.Outputs(low.Shape, in.replays.Sampled.Got, low); c.OK() && c.RMSZ >= least {
			const text = "errors in every row and feature, without direction, of the size that %s gives, " +
				"or parameters slightly off (rel %.3g; %.2g times the noise of that precision)"
			name := p.factors
			if p.precision.Holds(in.got) {
				name = p.stored
			}
			return answer{finding: findingf(Rounding, text, fmt.Sprintf("%s (%d bits)", name, p.bits), c.Rel, c.RMSZ)}
		}
	}
	return answer{}
}

// standsOut reports whether an element, a row or a feature is much noisier than the others. A
// mask that leaves rows alone, or one wrong weight, has this effect.
//
// The limits were measured on the committed cases in bfloat16 and TensorFloat-32. The largest z
// is at most 5.0 times rms z. The noise of rows differs by a factor of up to 5.3, or 12 where the
// softmax is saturated. The noise of features differs by a factor of up to 2.5.
func standsOut(in *input) bool {
	const elements, rows, features = 10, 50, 10
	return in.comparison.MaxZ > elements*in.comparison.RMSZ ||
		spread(noiseOfRows(in)) > rows || spread(noiseOfFeatures(in)) > features
}

// directed reports whether the errors have a direction: the output itself (a gain), the query (a
// residual connection), the same in every row (a shift), or the error of a known mistake.
//
// Measured as for [standsOut], the cosine of a lower precision is at most 0.34, and the cosine of
// a scale 0.1 % off is 0.82. A limit of 0.45 let through weights of one head that were half a
// percent off.
func directed(in *input) bool {
	const cosine = 0.35
	if along(in, in.truth.Value) > cosine || along(in, in.problem.Query.Value) > cosine || shiftShare(in) > cosine {
		return true
	}
	for _, r := range in.replays.Visible {
		counts := r.Mistake.Replayable() && r.Mistake.Family != catalogue.Precision
		if counts && math.Abs(in.replays.Towards(r)) > cosine {
			return true
		}
	}
	return false
}

// noiseOfRows returns rms z of each row that sees a key.
func noiseOfRows(in *input) []float64 {
	width := num.Last(in.comparison.WantShape)
	var noise []float64
	for row, visible := range in.visible {
		if visible > 0 {
			noise = append(noise, num.RMS(in.comparison.Z[row*width:][:width]))
		}
	}
	return noise
}

// noiseOfFeatures returns rms z of each index of the last dimension, over the rows that see a
// key.
func noiseOfFeatures(in *input) []float64 {
	width := num.Last(in.comparison.WantShape)
	noise := make([]float64, width)
	for f := range noise {
		var column []float64
		for row, visible := range in.visible {
			if visible > 0 {
				column = append(column, in.comparison.Z[row*width+f])
			}
		}
		noise[f] = num.RMS(column)
	}
	return noise
}

// spread returns the ratio of the greatest to the least value; infinity if the least is 0 or
// there are none.
func spread(values []float64) float64 {
	if len(values) == 0 {
		return math.Inf(1)
	}
	return slices.Max(values) / slices.Min(values)
}

// along returns the absolute cosine between the error and a direction; 0 if the direction has
// another number of elements than the output.
func along(in *input, direction []float64) float64 {
	if len(direction) != len(in.got) {
		return 0
	}
	var ab, aa, bb float64
	for i, v := range direction {
		if d := in.got[i] - in.truth.Value[i]; !math.IsNaN(d) {
			ab, aa, bb = ab+d*v, aa+d*d, bb+v*v
		}
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return math.Abs(ab) / math.Sqrt(aa*bb)
}

// shiftShare returns the RMS of the mean error of all rows over the RMS of the error, from 0 to
// 1.
func shiftShare(in *input) float64 {
	width, all := num.Last(in.comparison.WantShape), 0.0
	rows := float64(len(in.got) / width)
	for i, w := range in.truth.Value {
		if d := in.got[i] - w; !math.IsNaN(d) {
			all += d * d / rows
		}
	}
	return num.RMS(meanShift(in)) * math.Sqrt(float64(width)/all)
}
