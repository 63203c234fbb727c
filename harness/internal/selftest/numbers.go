package selftest

import (
	"context"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/replay"
)

// wrongNumber is a number with another value than the case's.
type wrongNumber struct {
	catalogue.Number
	value float64
}

// judgeNumbers gives each number of the case a random wrong value in turn. A value is
// distinguishable if it moves the output by more than [Beyond]: near the right value, several
// numbers give the same small change.
func (t *trial) judgeNumbers(ctx context.Context) error {
	for _, n := range catalogue.Numbers {
		if _, ok := n.Get(t.problem); !ok {
			continue
		}
		r := t.rand("number " + n.ID)
		value, ok := n.Draw(r, t.problem)
		if !ok {
			continue
		}
		p, wrong := plant{number: &wrongNumber{n, value}}, t.problem.Fork()
		n.Set(wrong, value)
		p.run(t, wrong, r)
		result, err := t.judge(ctx, p, "")
		if err != nil {
			return err
		}
		t.tally(&t.found.Numbers, numbers, p, result, p.maxZ > Beyond)
	}
	return nil
}

// is reports whether a match is the wrong number that was planted, to within the interval of the
// match.
func (n *wrongNumber) is(named replay.NumberMatch) bool {
	return n != nil && n.ID == named.Number.ID && len(named.With) == 0 && named.Allows(n.value)
}
