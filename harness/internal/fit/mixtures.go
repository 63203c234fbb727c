package fit

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/pattern"
)

// otherMixtures says that other attention weights would give the output with the right values; ""
// if they would not, or if the case cannot tell.
//
// Where the output depends on few keys, other values can give what other attention weights give:
// uniform weights are an example. A value or output weight that is drawn anew leads out of the
// mixtures of the right values.
func (f *fitter) otherMixtures() string {
	t, l := f.trace, f.p.Layer
	if l.Output.Out < l.Output.In || f.p.EmptyRow != 0 && f.p.HasEmptyRow() {
		return ""
	}
	context, reason := pattern.ContextOf(f.p, t, num.UpTo(l.Heads))
	if reason != "" {
		return ""
	}
	judged := 0
	outside := map[string]*mat.Dense{}
	for n := range t.Heads {
		for i := range t.Queries {
			keys := f.seen(n, i)
			same := fmt.Sprint(n, keys)
			if _, known := outside[same]; !known {
				outside[same] = f.outsideMixtures(context(n%l.Heads), n, keys)
			}
			switch matrix := outside[same]; {
			case matrix == nil:
			case !f.isMixture(n/l.Heads*t.Queries+i, matrix):
				return ""
			default:
				judged++
			}
		}
	}
	if judged < surplus {
		return ""
	}
	return "other attention weights give the output as well, with all parameters right"
}

// isMixture reports whether the error of an output row lies within the mixtures of some values. The
// matrix is as [fitter.outsideMixtures] returns it.
func (f *fitter) isMixture(row int, outside *mat.Dense) bool {
	y, width := f.trace.Output, f.p.Layer.Output.Out
	first := row * width
	off, sigma := pattern.Difference(f.got[first:][:width], y.Value[first:][:width], y.Variance[first:][:width])
	for c := range f.trace.ValueWidth {
		rest, noise := pattern.TimesColumn(off, sigma, outside, c)
		if !(math.Abs(rest) <= pattern.Certainty*noise) {
			return false
		}
	}
	return true
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
