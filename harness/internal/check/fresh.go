package check

import (
	"context"
	"errors"
	"fmt"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Fresh gives the verdict on a subject's run of a case that has no results yet: the case gets the
// oracle's. The result has no diagnosis, and no finding about attention weights. It is a skip if
// rounding may change a choice in the case.
func Fresh(
	ctx context.Context, about subject.About, c *fixture.Case, ran subject.Result,
) (report.Result, error) {
	if ran.Err != nil {
		return withoutOutput(c, ran.Err), nil
	}
	referee, err := FreshReferee(ctx, about, c, ran)
	if errors.Is(err, judge.ErrTie) {
		return report.Result{Case: c.Name, Verdict: report.Skip, Err: err.Error()}, nil
	}
	if err != nil {
		return report.Result{}, err
	}
	r, err := referee.Compare(ran.Output.Shape, ran.Output.Float64s())
	if err != nil {
		return r, err
	}
	r.Findings = append(r.Findings, ran.Findings...)
	r.Findings = append(r.Findings, ran.Load.Wrong...)
	if len(r.Findings) > 0 {
		r.Verdict = report.Fail
	}
	return r, nil
}

// SetTruth gives a case that has no results yet the oracle's result, as [Fresh] does.
func SetTruth(ctx context.Context, c *fixture.Case) error {
	_, err := judge.OfOracle(ctx, c, judge.Arithmetic(""))
	if errors.Is(err, judge.ErrTie) {
		return nil
	}
	return err
}

// FreshReferee returns the referee of a run of a case that has no results yet, in the precision
// that the subject declares. The case gets the oracle's results.
func FreshReferee(
	ctx context.Context, about subject.About, c *fixture.Case, ran subject.Result,
) (*judge.Referee, error) {
	declared, err := onePrecision(about.Precision, ran.Precision)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	return judge.OfOracle(ctx, c, judge.Arithmetic(declared))
}
