package replay

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/progress"
)

// Mistakes change copies: the problem stays as it was.
func TestReplaysLeaveTheProblemAlone(t *testing.T) {
	p := oracletest.Padded()
	before := p.Run().Value
	_, missing := caseOf(p).replays(t.Context(), every)
	require.Zero(t, missing)
	for _, m := range catalogue.Mistakes {
		if m.Replayable() {
			m.Plant(p.Clone(), nil)
		}
	}
	require.Equal(t, before, p.Run().Value)
}

// When the context ends, the finished replays are kept, and the next call computes the others.
func TestReplaysGoOnWhereTheyWereCutOff(t *testing.T) {
	c := caseOf(oracletest.Padded())
	all, missing := c.replays(ended(t), every)
	require.Empty(t, all)
	require.Equal(t, len(catalogue.WithVariants), missing)

	midway, cancel := context.WithCancel(t.Context())
	some, missing := c.replays(progress.With(midway, func(u progress.Update) {
		if u.Done == 60 {
			cancel()
		}
	}), every)
	require.NotEmpty(t, some)
	require.Positive(t, missing)
	require.Less(t, missing, len(catalogue.WithVariants))

	var made atomic.Int64
	all, missing = c.replays(progress.With(t.Context(), func(progress.Update) { made.Add(1) }), every)
	require.Zero(t, missing)
	require.Greater(t, len(all), len(some))
	require.Less(t, made.Load(), int64(len(catalogue.WithVariants)))
}

// A case without a mistake knows all others, and takes their replays from the first case.
func TestWithout(t *testing.T) {
	c := caseOf(oracletest.Padded())
	all, _ := c.replays(t.Context(), every)
	less, missing := c.Without("causal-missing").replays(progress.With(t.Context(), func(progress.Update) {
		t.Error("a replay was computed again")
	}), every)
	require.Zero(t, missing)
	require.Len(t, less, len(all)-1)
	for _, r := range less {
		require.NotEqual(t, "causal-missing", r.Mistake.ID)
	}
}

// made returns a case whose catalogue is some mistakes.
func made(mistakes ...catalogue.Mistake) *Case {
	c := caseOf(oracletest.Padded())
	c.known, c.cache.mistakes, c.cache.replays = mistakes, mistakes, make([]*Replay, len(mistakes))
	return c
}

// No more mistakes are made at once than a case allows. The progress counts each.
func TestReplaysAtOnce(t *testing.T) {
	var now, most, reported atomic.Int64
	plant := func(*oracle.Problem, *rand.Rand) bool {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(time.Millisecond)
		now.Add(-1)
		return true
	}
	var mistakes []catalogue.Mistake
	for i := range 12 {
		mistakes = append(mistakes, catalogue.Mistake{ID: string(rune('a' + i)), Plant: plant, Random: i == 3})
	}
	c := made(mistakes...)
	c.sample.Rows = []int{0, 1, 2, 3, 4, 5} // as if it were large: two at once
	_, missing := c.replays(progress.With(t.Context(), func(u progress.Update) {
		reported.Add(int64(u.Done))
		if u.Total != 12 || u.Stage != "mistakes made" {
			t.Error(u)
		}
	}), every)
	require.Zero(t, missing)
	require.LessOrEqual(t, most.Load(), int64(2))
	require.Equal(t, int64(12*13/2), reported.Load())
}

// Mistakes that nobody wants are neither made, nor missing, nor returned.
func TestWantedReplays(t *testing.T) {
	var asked []string
	of := func(id string) catalogue.Mistake {
		return catalogue.Mistake{ID: id, Plant: func(*oracle.Problem, *rand.Rand) bool {
			asked = append(asked, id)
			return true
		}}
	}
	c := made(of("a"), of("b"))
	for _, id := range []string{"b", "a", "b"} {
		all, missing := c.replays(t.Context(), func(m catalogue.Mistake) bool { return m.ID == id })
		require.Zero(t, missing)
		require.Len(t, all, 1)
		require.Equal(t, id, all[0].Mistake.ID)
	}
	require.Equal(t, []string{"b", "a"}, asked)
}

// One goroutine at a time makes mistakes on a case. Another waits until its own context ends.
func TestReplaysWaitForTheirTurn(t *testing.T) {
	c := made(catalogue.Mistake{ID: "a", Plant: func(*oracle.Problem, *rand.Rand) bool { return true }})
	c.cache.turn <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	all, missing := c.replays(ctx, every)
	require.Empty(t, all)
	require.Equal(t, 1, missing)
	require.Nil(t, c.cache.replays[0])
	<-c.cache.turn
	all, missing = c.replays(t.Context(), every)
	require.Len(t, all, 1)
	require.Zero(t, missing)
	require.Empty(t, c.cache.turn)
}

// Each draw has random numbers of its own. A mistake that does not apply once is not drawn again.
func TestRandomNumbersOfDraws(t *testing.T) {
	c := caseOf(oracletest.Padded())
	var drawn []float64
	m := catalogue.Mistake{Random: true, Plant: func(_ *oracle.Problem, r *rand.Rand) bool {
		drawn = append(drawn, r.Float64())
		return true
	}}
	_, err := c.Draw(t.Context(), m, 3)
	require.NoError(t, err)
	for i, v := range drawn {
		require.Equal(t, rand.New(rand.NewPCG(1, uint64(i))).Float64(), v)
	}
	require.Len(t, drawn, 3)
	asked := 0
	once := catalogue.Mistake{Plant: func(*oracle.Problem, *rand.Rand) bool {
		asked++
		return asked > 1
	}}
	r, err := c.Draw(t.Context(), once, 3)
	require.NoError(t, err)
	require.False(t, r.applies())
}

// Draws of a random mistake differ, and others are made as often as asked. A mistake that does not
// apply has no output.
func TestDrawsOfAMistake(t *testing.T) {
	c := caseOf(oracletest.Padded())
	noisy := catalogue.Mistake{Random: true, Plant: func(p *oracle.Problem, r *rand.Rand) bool {
		p.Value.Value = slices.Clone(p.Value.Value)
		p.Value.Value[5] += 1 + r.Float64()
		return true
	}}
	r, err := c.replay(t.Context(), noisy)
	require.NoError(t, err)
	require.Len(t, r.Outputs, 8)
	require.Len(t, r.Comparisons, 8)
	require.NotEqual(t, r.Outputs[0], r.Outputs[1])
	require.Equal(t, compare.Outputs(c.Truth.Shape, r.Outputs[7], c.Truth), r.Comparisons[7])
	noisy.Random = false
	r, err = c.replay(t.Context(), noisy)
	require.NoError(t, err)
	require.Len(t, r.Outputs, 1)
	none := catalogue.Mistake{Plant: func(*oracle.Problem, *rand.Rand) bool { return false }}
	r, err = c.replay(t.Context(), none)
	require.NoError(t, err)
	require.False(t, r.applies())
	_, err = c.Draw(ended(t), noisy, 1)
	require.Error(t, err)

	processors := runtime.GOMAXPROCS(0)
	require.Equal(t, processors, c.concurrency())
	require.Equal(t, min(2, processors), sampled(c, 1).concurrency())
	require.Equal(t, processors, runtime.GOMAXPROCS(0), "it stays")
	runtime.GOMAXPROCS(4)
	require.Equal(t, 4, c.concurrency())
	require.Equal(t, 2, sampled(c, 1).concurrency())
	require.Equal(t, 4, runtime.GOMAXPROCS(0))
	runtime.GOMAXPROCS(processors)
	noisy.Random = true
	require.True(t, c.atOnce(noisy), "a small case")
	require.False(t, sampled(c, 1).atOnce(noisy))
	require.True(t, sampled(c, 1).atOnce(none))
}
