package fuzz

import (
	"context"
	"fmt"
	"time"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Patient is an implementation in this process that has a time for each case. An implementation
// that takes longer fails the case as a program that hangs does. Its goroutine goes on, because
// nothing can end it.
type Patient struct {
	subject.Runner
	Timeout time.Duration
}

// Run implements [subject.Runner].
func (p Patient) Run(ctx context.Context, c *fixture.Case) subject.Result {
	ran := make(chan subject.Result, 1)
	go func() { ran <- p.Runner.Run(ctx, c) }()
	timer := time.NewTimer(p.Timeout)
	defer timer.Stop()
	select {
	case r := <-ran:
		return r
	case <-ctx.Done():
		return subject.Result{Err: ctx.Err()}
	case <-timer.C:
		return subject.Result{Err: fmt.Errorf("it has not answered for %v", p.Timeout)}
	}
}
