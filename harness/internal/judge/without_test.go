package judge

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

// A mistake that the catalogue lacks gets no name, or the name of an equivalent on this case. Each
// mistake is left out in turn, made, and diagnosed, pairs included. A plain run tries one in
// six.
func TestAMistakeThatIsLeftOutGetsNoWrongName(t *testing.T) {
	campaign.SkipShort(t)
	made, unexplained := 0, 0
	oneIn := 6
	if campaign.Full() {
		oneIn = 1
	}
	for _, name := range []string{"sdpa/float-mask", "decoder/alibi-decode"} {
		c := harnesstest.ReadCase(t, name)
		referee, err := New(t.Context(), c, oracle.Precision{})
		require.NoError(t, err)
		for n, m := range catalogue.Mistakes {
			p := oracle.FromCase(c)
			if !m.Replayable() || !m.Plant(p.Clone(), nil) || n%oneIn > 0 {
				continue
			}
			result := judgedMistake(t, c, referee.Without(m.ID), m)
			if result.Verdict == report.Pass {
				continue
			}
			made++
			if len(result.Diagnosis.Matches) == 0 {
				unexplained++
			}
			for _, match := range result.Diagnosis.Matches {
				requireEquivalent(t, p, m, match)
			}
		}
	}
	t.Logf("%d made, %d without a name, all others with that of an equivalent", made, unexplained)
	require.Greater(t, unexplained, 60/oneIn)
}

// judgedMistake gives the verdict on a mistake's output in float32.
func judgedMistake(t *testing.T, c *fixture.Case, by *Referee, m catalogue.Mistake) report.Result {
	t.Helper()
	p := oracle.FromCase(c).Clone()
	require.True(t, m.Plant(p, nil))
	out := inLayout(c, p.Run().Expected())
	for i, v := range out.Value {
		out.Value[i] = float64(float32(v))
	}
	r, err := by.Judge(t.Context(), out.Shape, out.Value)
	require.NoError(t, err)
	return r
}

// requireEquivalent requires a mistake and the match that names it to have the same float64 result.
func requireEquivalent(t *testing.T, p *oracle.Problem, m catalogue.Mistake, called replay.Match) {
	t.Helper()
	one, other := p.Clone(), p.Clone()
	m.Plant(one, nil)
	for _, mistake := range called.Mistakes {
		mistake.Plant(other, nil)
	}
	a, b := one.Run().Value, other.Run().Value
	largest, worst := 0.0, 0.0
	for i := range a {
		largest, worst = math.Max(largest, math.Abs(a[i])), math.Max(worst, math.Abs(a[i]-b[i]))
	}
	if !(worst <= 1e-8*largest) {
		t.Errorf("%s is called %s, which gives another result: %.2g of the largest value",
			m.ID, called.ID(), worst/largest)
	}
}
