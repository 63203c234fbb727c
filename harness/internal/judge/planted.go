package judge

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"reflect"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
)

// Planted computes a case with mistakes made one after the other. The values are float32, in the
// case's order of dimensions, as a subject would give them; sigma is the noise of the given
// precision. Planted reports false if one of the mistakes has nothing to get wrong on the case.
func Planted(c *fixture.Case, lower oracle.Precision, mistakes ...catalogue.Mistake) (compare.Expected, bool) {
	wrong, ok := catalogue.Make(oracle.FromCase(c).In(lower), rand.New(rand.NewPCG(1, 0)), mistakes...)
	if !ok {
		return compare.Expected{}, false
	}
	return asSubject(c, wrong), true
}

// WithNumber computes a case with another value of a number, as [Planted] does with mistakes. The
// value comes from the right one. WithNumber reports false if the case has no such number, or if no
// value comes from it.
func WithNumber(
	c *fixture.Case, lower oracle.Precision, n catalogue.Number, change func(right float64) (float64, bool),
) (compare.Expected, bool) {
	wrong := oracle.FromCase(c).In(lower)
	right, ok := n.Get(wrong)
	if !ok {
		return compare.Expected{}, false
	}
	value, ok := change(right)
	if !ok {
		return compare.Expected{}, false
	}
	n.Set(wrong, value)
	return asSubject(c, wrong), true
}

// WithProjections computes a case with other weights of the named projections, or with other biases
// alone, as [Planted] does with mistakes: in the reverse order. It reports false if the case has
// none of these parameters.
func WithProjections(
	c *fixture.Case, lower oracle.Precision, names []string, biasAlone bool,
) (compare.Expected, bool) {
	wrong := oracle.FromCase(c).In(lower)
	if wrong.Layer == nil {
		return compare.Expected{}, false
	}
	layer, changed := *wrong.Layer, false
	for i, linear := range layer.Projections() {
		values := &linear.Weight
		if biasAlone {
			values = &linear.Bias
		}
		if slices.Contains(names, fit.Projection(i).String()) && len(*values) > 0 {
			*values, changed = slices.Clone(*values), true
			slices.Reverse(*values)
		}
	}
	wrong.Layer = &layer
	return asSubject(c, wrong), changed
}

// asSubject computes a problem, rounded to float32 and in the case's order of dimensions.
func asSubject(c *fixture.Case, p *oracle.Problem) compare.Expected {
	out := inLayout(c, p.Run().Expected())
	for i, v := range out.Value {
		out.Value[i] = float64(float32(v))
	}
	return out
}

// Right computes a case as it is, in the case's order of dimensions. Unlike a [Referee]'s expected
// values, these are the oracle's own.
func Right(c *fixture.Case) compare.Expected {
	return inLayout(c, oracle.FromCase(c).Run().Expected())
}

// RightWeights computes the attention weights of a case that has them, as the layer shows them.
func RightWeights(c *fixture.Case) compare.Expected {
	return expectedWeights(c, oracle.FromCase(c).Weights())
}

// Example makes a mistake on the simplest case of a suite that sees it, and judges the output.
// The error says that no case sees the mistake, or that a case is broken.
func Example(ctx context.Context, suite fs.FS, m catalogue.Mistake) (report.Result, error) {
	cases, err := simplestFirst(suite)
	if err != nil {
		return report.Result{}, err
	}
	for _, c := range cases {
		if result, seen, err := exampleOn(ctx, c, m); err != nil || seen {
			return result, err
		}
	}
	return report.Result{}, fmt.Errorf("%s: no case sees it", m.ID)
}

// simplestFirst reads the cases of a suite, those with the fewest features first. Among equals the
// case with the fewest numbers comes first.
func simplestFirst(suite fs.FS) ([]*fixture.Case, error) {
	names, err := fixture.Names(suite)
	if err != nil {
		return nil, err
	}
	var cases []*fixture.Case
	for _, name := range names {
		c, err := fixture.Read(suite, name)
		if err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	slices.SortStableFunc(cases, func(a, b *fixture.Case) int {
		return cmp.Or(cmp.Compare(features(a), features(b)), cmp.Compare(len(a.Truth), len(b.Truth)))
	})
	return cases, nil
}

// features counts what a case asks for beyond plain attention in float32: every option that is not
// its zero value, every mask, and other positions of the keys than of the queries. A rotation by
// tables comes after all attention.
func features(c *fixture.Case) int {
	plain := c.Layer
	plain.EmbedDim, plain.NumHeads, plain.EmptyRow = 0, 0, 0
	masks := c.Inputs
	query, key := masks.Query, masks.Key
	masks.Query, masks.Key, masks.Value = nil, nil, nil
	n := 0
	for _, options := range []any{plain, c.Options, c.Rotation, masks} {
		for _, field := range reflect.ValueOf(options).Fields() {
			if !field.IsZero() {
				n++
			}
		}
	}
	if c.Precision != npy.Float32 {
		n++
	}
	const rotation = 1000
	switch {
	case c.Op == fixture.Rotary:
		n += rotation
	case c.Op != fixture.Module && !slices.Equal(query.Shape, key.Shape):
		n++
	}
	return n
}

// exampleOn judges the output of a mistake on a case. It reports false if the case does not see it.
func exampleOn(ctx context.Context, c *fixture.Case, m catalogue.Mistake) (result report.Result, seen bool, err error) {
	r, err := New(ctx, c, oracle.Precision{})
	if err != nil || !r.Knows() {
		return result, false, err
	}
	out, ok := Planted(c, oracle.Precision{}, m)
	if !ok {
		return result, false, nil
	}
	result, err = r.Judge(ctx, out.Shape, out.Value)
	return result, result.Verdict == report.Fail, err
}
