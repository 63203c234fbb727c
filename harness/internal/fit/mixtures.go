package fit

import (
	"fmt"

	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/pattern"
)

// otherMixtures says that other attention weights would give the output with the right values; ""
// if they would not, or if the case cannot tell.
//
// Uniform weights are an example: where no key of a batch element is seen by more queries than the
// element has keys, another value weight can give any output that depends on the keys alone. A
// value or output weight that is drawn anew leads out of the mixtures of the right values.
func (f *fitter) otherMixtures() string {
	t, l := f.trace, f.p.Layer
	perBatch := l.Heads
	if l.Output.Out < l.Output.In || f.p.EmptyRow != 0 && f.p.HasEmptyRow() {
		return ""
	}
	context, reason := pattern.ContextOf(f.p, t, num.UpTo(perBatch))
	if reason != "" {
		return ""
	}
	judged, width := 0, l.Output.Out
	outside := map[string]*mat.Dense{}
	for n := range t.Heads {
		for i := range t.Queries {
			keys := f.seen(n, i)
			key := fmt.Sprint(n, keys)
			if _, known := outside[key]; !known {
				outside[key] = f.outsideMixtures(context(n%perBatch), n, keys)
			}
			matrix := outside[key]
			if matrix == nil {
				continue
			}
			first := (n/perBatch*t.Queries + i) * width
			y := t.Output
			off, sigma := pattern.Difference(f.got[first:][:width], y.Value[first:][:width], y.Variance[first:][:width])
			for c := range t.ValueWidth {
				rest, noise := pattern.TimesColumn(off, sigma, matrix, c)
				if !(rest*rest <= pattern.Certainty*pattern.Certainty*noise*noise) {
					return ""
				}
			}
			judged++
		}
	}
	if judged < surplus {
		return ""
	}
	return "other attention weights give the output as well, with all parameters right"
}

// seen lists the keys that a row sees.
func (f *fitter) seen(n, i int) []int {
	at := (n*f.trace.Queries + i) * f.trace.Keys
	return num.Where(f.trace.Sees[at:][:f.trace.Keys])
}

// outsideMixtures returns the matrix (D, Ev) that turns the error of an output row into the part of
// a head's context that no weights of some keys give. The weights add to 1, or with sinks to any
// number. It returns nil if the keys' values give every context.
func (f *fitter) outsideMixtures(context *mat.Dense, n int, keys []int) *mat.Dense {
	t := f.trace
	value := func(j int) []float64 { return t.Value[(n/t.Group*t.Keys+j)*t.ValueWidth:][:t.ValueWidth] }
	ev := t.ValueWidth
	origin := make([]float64, ev)
	if len(keys) > 0 && f.p.Sinks == nil {
		origin, keys = value(keys[0]), keys[1:]
	}
	rest := mat.NewDense(ev, ev, nil)
	for c := range ev {
		rest.Set(c, c, 1)
	}
	for _, j := range keys {
		direction := mat.NewVecDense(ev, nil)
		for c, v := range value(j) {
			direction.SetVec(c, v-origin[c])
		}
		size := mat.Norm(direction, 2)
		var left mat.VecDense
		left.MulVec(rest, direction)
		if remaining := mat.Norm(&left, 2); remaining > 1e-6*size {
			rest.RankOne(rest, -1/(remaining*remaining), &left, &left)
		}
	}
	if mat.Trace(rest) < 0.5 {
		return nil
	}
	var out mat.Dense
	out.Mul(context, rest)
	return &out
}
