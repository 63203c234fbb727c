package oracle_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// A trace is consistent. Its scores give its weights, its weights and values give its context, and
// its output is the output of Run.
func TestTraceIsConsistent(t *testing.T) {
	campaign.SkipShort(t)
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	for _, name := range names {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		if c.Op == fixture.Module || c.Op == fixture.Rotary {
			continue
		}
		p := oracle.FromCase(c)
		trace := p.Trace()
		requireSame(t, name, trace.Output.Value, p.Run().Value)
		for row := range trace.Heads * trace.Queries {
			requireRow(t, name, p, trace, row)
		}
	}
}

func requireRow(t *testing.T, name string, p *oracle.Problem, trace oracle.Trace, row int) {
	t.Helper()
	head, total := row/trace.Queries, 0.0
	scores, weights := trace.Scores[row*trace.Keys:][:trace.Keys], trace.Weights[row*trace.Keys:][:trace.Keys]
	want, context := make([]float64, trace.Keys), make([]float64, trace.ValueWidth)
	for j, s := range scores {
		require.Equal(t, trace.Sees[row*trace.Keys+j], !math.IsInf(s, -1))
		want[j] = math.Exp(s)
		total += want[j]
	}
	if total == 0 {
		return // the row sees no key
	}
	if p.Sinks != nil {
		total += math.Exp(p.Sinks[head%len(p.Sinks)])
	}
	for j := range want {
		want[j] /= total
		for c := range context {
			context[c] += want[j] * trace.Value[(head/trace.Group*trace.Keys+j)*trace.ValueWidth+c]
		}
	}
	requireSame(t, name, weights, want)
	requireSame(t, name, trace.Context[row*trace.ValueWidth:][:trace.ValueWidth], context)
}

func requireSame(t *testing.T, name string, got, want []float64) {
	t.Helper()
	require.Len(t, got, len(want), name)
	for i := range want {
		if math.IsNaN(want[i]) && math.IsNaN(got[i]) {
			continue
		}
		require.LessOrEqual(t, math.Abs(got[i]-want[i]), 1e-11*(1+math.Abs(want[i])), name)
	}
}
