package subject

import (
	"context"
	"fmt"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// Loading is an implementation that is given a state dict in place of that of every case. It must fit the case's
// layer, strictly. The case still judges the output by its own parameters.
func Loading(r Runner, dict attention.StateDict) Runner { return loading{r, dict} }

type loading struct {
	Runner
	dict attention.StateDict
}

func (l loading) Run(ctx context.Context, c *fixture.Case) Result {
	if err := c.Layer.CheckStateDict(l.dict); err != nil {
		return Result{Err: fmt.Errorf("load the state dict: %w", err)}
	}
	given := *c
	given.State = l.dict
	return l.Runner.Run(ctx, &given)
}
