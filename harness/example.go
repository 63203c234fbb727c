package harness

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
)

// Example makes a mistake on the first case of a suite that sees it, and judges the
// output. The error is that no case sees it, or that one is broken.
func Example(ctx context.Context, suite fs.FS, m catalogue.Mistake) (report.Result, error) {
	names, err := fixture.Names(suite)
	if err != nil {
		return report.Result{}, err
	}
	for _, name := range names {
		c, err := fixture.Read(suite, name)
		if err != nil {
			return report.Result{}, err
		}
		if result, seen, err := made(ctx, c, m); err != nil || seen {
			return result, err
		}
	}
	return report.Result{}, fmt.Errorf("%s: no case sees it", m.ID)
}

// made judges the output of a mistake on a case. It says false where the case does not see it.
func made(ctx context.Context, c *fixture.Case, m catalogue.Mistake) (result report.Result, seen bool, err error) {
	r, err := newRefereeIn(ctx, c, oracle.Precision{})
	if err != nil || r.reference == nil {
		return result, false, err
	}
	out, ok := planted(c, oracle.Precision{}, m)
	if !ok {
		return result, false, nil
	}
	result, err = r.Judge(ctx, out.Shape, out.Value)
	return result, result.Verdict == report.Fail, err
}

// planted is what a case gives with mistakes made one after the other, in its own order and in float32,
// as a subject would give it, with the noise of a lower precision. It says false where one of them has nothing to
// get wrong.
func planted(c *fixture.Case, lower oracle.Precision, mistakes ...catalogue.Mistake) (compare.Expected, bool) {
	wrong := oracle.FromCase(c).In(lower)
	for _, m := range mistakes {
		if !m.Plant(wrong, rand.New(rand.NewPCG(1, 0))) {
			return compare.Expected{}, false
		}
	}
	out := inOrder(c, wrong.Run().Expected())
	for i, v := range out.Value {
		out.Value[i] = float64(float32(v))
	}
	return out, true
}
