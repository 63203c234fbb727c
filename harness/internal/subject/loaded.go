package subject

import (
	"context"
	"fmt"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// Loading returns a runner that loads dict on every case instead of the case's own state dict. A
// case whose layer has other keys or shapes fails. The output is still judged by the case's own
// parameters.
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
