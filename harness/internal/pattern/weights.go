package pattern

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Weights holds the attention weights that an output was made with, if its values and its output
// projection are right.
type Weights struct {
	Value, Sigma []float64 // (N, L, S); zero in heads that were not asked for

	// rest holds for each row, (N, L), the part of its context that no mixture of the values
	// gives: the largest element, in sigma. It is zero if a value has no more features than there
	// are keys.
	rest   []float64
	judged bool // some row has a rest
}

// FarFromMixtures reports whether some context is far from every mixture of the values.
func (w Weights) FarFromMixtures() bool {
	const far = 4 * Certainty
	return w.judged && slices.Max(w.rest) > far
}

// RecoverWeights returns the weights of some heads of each batch element. The output got is a
// wrong one of problem p, which is right and has trace t. The reason says why there are no
// weights.
func RecoverWeights(p *oracle.Problem, t oracle.Trace, got []float64, heads []int) (w Weights, reason string) {
	if reason := unrecoverable(p, t, heads); reason != "" {
		return w, reason
	}
	w.Value, w.Sigma = make([]float64, len(t.Weights)), make([]float64, len(t.Weights))
	w.rest = make([]float64, t.Heads*t.Queries)
	context, reason := ContextOf(p, t, heads)
	if reason != "" {
		return w, reason
	}
	perBatch := headsPerBatch(p, t)
	for n := range t.Heads {
		index := slices.Index(heads, n%perBatch)
		if index < 0 {
			continue
		}
		values := t.Value[n/t.Group*t.Keys*t.ValueWidth:][:t.Keys*t.ValueWidth]
		u, ok := newUnmixing(mat.NewDense(t.Keys, t.ValueWidth, values), context(index))
		if !ok {
			return w, "values that depend on each other"
		}
		w.recoverHead(p, t, got, n, u)
	}
	return w, ""
}

// unrecoverable says why the weights of some heads of each batch element cannot be recovered. It
// returns "" if they can.
func unrecoverable(p *oracle.Problem, t oracle.Trace, heads []int) string {
	if t.Keys > t.ValueWidth {
		return fmt.Sprintf("%d keys and %d features of a value: weights cannot be told from their mixture",
			t.Keys, t.ValueWidth)
	}
	if l := p.Layer; l != nil && l.Output.Out < len(heads)*t.ValueWidth {
		return fmt.Sprintf("an output of %d features cannot show the %d of all contexts",
			l.Output.Out, len(heads)*t.ValueWidth)
	}
	if p.EmptyRow != 0 && p.HasEmptyRow() {
		return "rows that see no key are NaN"
	}
	const features = 512
	if p.Layer != nil && len(heads)*t.ValueWidth > features {
		return fmt.Sprintf("the case is too large: contexts of %d features", len(heads)*t.ValueWidth)
	}
	return ""
}

// Untraceable says why a case is too large for [oracle.Problem.Trace], which takes about forty
// bytes per attention weight. It returns "" if the case is small enough.
func Untraceable(p *oracle.Problem) string {
	const most = 1 << 21
	query, key := p.Query.Shape, p.Key.Shape
	queries, keys := query[len(query)-2], key[len(key)-2]
	rows := len(p.Query.Value) / num.Last(query) // of a function: over all heads
	if p.Layer != nil {
		rows = query[0] * p.Layer.Heads * queries
	}
	if p.Past != nil {
		keys += p.Past.Key.Shape[len(p.Past.Key.Shape)-2]
	}
	if rows*keys > most {
		return fmt.Sprintf("the case is too large: %d attention weights", rows*keys)
	}
	return ""
}

func headsPerBatch(p *oracle.Problem, t oracle.Trace) int {
	if p.Layer != nil {
		return p.Layer.Heads
	}
	return t.Heads
}

// unmixing turns the error of an output row into the change of a head's weights that gives it,
// and into the rest: the part of the context's change that no weights give.
type unmixing struct {
	toWeights *mat.Dense // (D, S)
	toRest    *mat.Dense // (D, Ev)
	layer     bool       // rows are a layer's, not contexts
}

// newUnmixing takes the values of a head, (S, Ev), and the matrix that turns an output row into
// the head's context; nil if rows are contexts. It fails if the values depend on each other.
func newUnmixing(values, context *mat.Dense) (unmixing, bool) {
	inverse, ok := pseudoInverse(values)
	if !ok {
		return unmixing{}, false
	}
	_, ev := values.Dims()
	rest := mat.NewDense(ev, ev, nil)
	rest.Mul(inverse, values)
	for i := range ev {
		for j := range ev {
			rest.Set(i, j, -rest.At(i, j))
		}
		rest.Set(i, i, 1+rest.At(i, i))
	}
	if context == nil {
		return unmixing{toWeights: inverse, toRest: rest}, true
	}
	var a, b mat.Dense
	a.Mul(context, inverse)
	b.Mul(context, rest)
	return unmixing{toWeights: &a, toRest: &b, layer: true}, true
}

// recoverHead recovers the weights of head n: it adds to the right weights the change that the
// error of the output comes from.
func (w *Weights) recoverHead(p *oracle.Problem, t oracle.Trace, got []float64, n int, u unmixing) {
	width, _ := u.toWeights.Dims()
	perBatch := headsPerBatch(p, t)
	for i := range t.Queries {
		row := n*t.Queries + i
		first := row * width
		if u.layer {
			first = (n/perBatch*t.Queries + i) * width
		}
		off, sigma := Difference(got[first:][:width], t.Output.Value[first:][:width], t.Output.Variance[first:][:width])
		for j := range t.Keys {
			change, noise := TimesColumn(off, sigma, u.toWeights, j)
			w.Value[row*t.Keys+j], w.Sigma[row*t.Keys+j] = t.Weights[row*t.Keys+j]+change, noise
		}
		if t.ValueWidth <= t.Keys {
			continue
		}
		w.judged = true
		for c := range t.ValueWidth {
			if rest, noise := TimesColumn(off, sigma, u.toRest, c); noise > 0 {
				w.rest[row] = math.Max(w.rest[row], math.Abs(rest)/noise)
			}
		}
	}
}
