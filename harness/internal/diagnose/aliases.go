package diagnose

import (
	"context"

	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/pattern"
	"github.com/difftest/difftest/harness/internal/progress"
	"github.com/difftest/difftest/harness/internal/replay"
)

// Names of the packages that the users of this one do not import yet.
type (
	Match      = replay.Match
	Band       = replay.Band
	Range      = replay.Range
	Sight      = replay.Visibility
	Fit        = fit.Fit
	Parameter  = fit.Parameter
	Projection = fit.Projection
	Pattern    = pattern.Pattern
	Stage      = pattern.Stage
)

const ScoreStage = pattern.ScoreStage

func Ranges(list []int) string { return num.Ranges(list) }

func (r *Reference) Sight() Sight { return r.Visibility() }

type Progress progress.Update

func (p Progress) Tell(ctx context.Context) { progress.Tell(ctx, progress.Update(p)) }

func WithProgress(ctx context.Context, hear func(Progress)) context.Context {
	return progress.With(ctx, func(u progress.Update) { hear(Progress(u)) })
}

func Within(ctx context.Context, part string) context.Context { return progress.Within(ctx, part) }
