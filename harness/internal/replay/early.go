package replay

import (
	"context"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// early is rows of a large case that see few keys, as the first rows under a causal mask do.
// Mistakes that change the weights or inputs of keys or values are made on these rows: on the
// sample they need new keys and values of all tokens, nearly all the work of a diagnosis.
type early struct {
	element int             // batch element of the rows
	tokens  int             // the first tokens of the element, which the rows need
	right   *oracle.Problem // of these tokens; cached
	rows    []int           // of that problem
	sample  Sample          // the same rows of the case
}

// newEarly returns early rows of the batch element of a sample; nil if there are none.
func newEarly(p *oracle.Problem, truth compare.Expected, s Sample) *early {
	const tokens, rows = 48, 12
	if !s.Partial() || p.Layer == nil || p.Key.Shape[1] < 4*tokens || p.Query.Shape[1] < tokens {
		return nil
	}
	length := p.Query.Shape[1]
	e := &early{element: s.Rows[0] / length, tokens: tokens}
	if e.right = p.Prefix(e.element, tokens); e.right == nil {
		return nil
	}
	e.right = e.right.CachedParts(p)
	for i, n := range e.right.Visible() {
		if n > 1 {
			e.rows = append(e.rows, i)
		}
	}
	if len(e.rows) < rows {
		return nil
	}
	few := e.rows
	e.rows = nil
	for _, i := range spreadOver(len(few), rows) {
		e.rows = append(e.rows, few[i])
		e.sample.Rows = append(e.sample.Rows, e.element*length+few[i])
	}
	e.sample.Truth = expectedRows(truth, e.sample.Rows)
	return e
}

// of returns a mistaken problem of the early tokens; nil if the mistake is to be made on the
// sample. A missing part of the computation always is, because its rows are compared with others.
func (e *early) of(wrong *oracle.Problem, m catalogue.Mistake, right *oracle.Problem) *oracle.Problem {
	same := e != nil && slices.Equal(wrong.Query.Shape, right.Query.Shape) &&
		slices.Equal(wrong.Key.Shape, right.Key.Shape)
	if !same || m.Kind == catalogue.Missing || !wrong.ProjectsAnew() {
		return nil
	}
	p := wrong.Prefix(e.element, e.tokens)
	if p == nil {
		return nil
	}
	return p.WithCache(e.right)
}

// sampledValues returns the output of a mistake, which is not random, in the sampled rows.
func (c *Case) sampledValues(r Replay) []float64 {
	if r.Early {
		return c.output(r.Mistake, c.sample.Rows, oracle.ValuesAlone).Value
	}
	return r.Outputs[0]
}

// make computes a mistaken problem on the early rows, or on the sample if the early rows are not
// enough: if they do not show the mistake, which is not a random one.
func (c *Case) make(
	ctx context.Context, wrong *oracle.Problem, m catalogue.Mistake,
) (values []float64, made compare.Comparison, isEarly bool, err error) {
	if p := c.early.of(wrong, m, c.Problem); p != nil {
		f, err := p.Rows(ctx, c.early.rows, oracle.ValuesAlone)
		if err != nil {
			return nil, made, true, err
		}
		if made = compare.Outputs(f.Shape, f.Value, c.early.sample.Truth); m.Random || !made.OK() {
			return f.Value, made, true, nil
		}
	}
	f, err := wrong.Rows(ctx, c.sample.Rows, oracle.ValuesAlone)
	if err != nil {
		return nil, made, false, err
	}
	return f.Value, compare.Outputs(f.Shape, f.Value, c.sample.Truth), false, nil
}
