package check

import (
	"context"

	"github.com/difftest/difftest/harness/internal/causes"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/report"
)

// Explain makes the report of a run over the named cases from what was observed of it, perhaps on
// several machines. Every case with a result must be in cases. The error is as [Check]'s.
func Explain(
	ctx context.Context, names []string, saw *report.Observed, cases map[string]*fixture.Case,
) (*report.Report, error) {
	r := &report.Report{Precision: saw.Precision, Selected: len(names)}
	for _, result := range saw.Probed {
		r.AddSource(cases[result.Case].Provenance.Source())
	}
	err := explain(ctx, r, saw, causes.Of(cases))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return r, err
}
