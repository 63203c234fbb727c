package fuzz

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/builtin"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/fresh"
	"github.com/difftest/difftest/harness/internal/subject"
)

// The built-in implementation passes every draw.
func TestBuiltInPasses(t *testing.T) {
	count := 100
	if campaign.Full() {
		count = 3_000
	}
	r, err := Run(t.Context(), builtin.Subject(), Options{Seed: 11, Count: count})
	require.NoError(t, err)
	require.Equal(t, count, r.Passed, "%v", r.Findings)
}

// printed returns a result as text.
func printed(t *testing.T, r *Result) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, Text(&b, r, func(name string) string { return "again " + name }))
	return b.String()
}

// parallel runs several cases at once.
type parallel struct{ subject.Subject }

func (p parallel) About() subject.About {
	about := p.Subject.About()
	about.Jobs = 8
	return about
}

// A seed gives the same result however many cases run at once.
func TestResultsDependOnTheSeedAlone(t *testing.T) {
	kernel := func(c *call) (*attention.Tensor, error) { return c.spoiled(c.keys%4 == 3 && c.headDim > 8) }
	one, err := Run(t.Context(), kernelSubject("k", kernel), Options{Seed: 5, Count: 60})
	require.NoError(t, err)
	require.Contains(t, printed(t, one), "if and only if head-dim >= 9 and keys mod 4 = 3")
	several, err := Run(t.Context(), parallel{kernelSubject("k", kernel)}, Options{Seed: 5, Count: 60})
	require.NoError(t, err)
	require.Equal(t, printed(t, one), printed(t, several))
	other, err := Run(t.Context(), kernelSubject("k", kernel), Options{Seed: 6, Count: 60})
	require.NoError(t, err)
	require.NotEqual(t, printed(t, one), printed(t, other))
}

// A case that failed is kept, is a case as any other, and runs first the next time.
func TestCorpus(t *testing.T) {
	dir := t.TempDir()
	kernel := func(c *call) (*attention.Tensor, error) { return c.spoiled(c.keys == 2) }
	first, err := Run(t.Context(), kernelSubject("k", kernel), Options{Seed: 5, Count: 60, Corpus: dir})
	require.NoError(t, err)
	require.NotEmpty(t, first.Findings)
	require.Zero(t, first.Kept)
	names, err := fixture.Names(os.DirFS(dir))
	require.NoError(t, err)
	require.Equal(t, first.Findings[0].Case.Name, names[0])

	again, err := Run(t.Context(), kernelSubject("k", kernel), Options{Seed: 99, Count: 1, Corpus: dir})
	require.NoError(t, err)
	require.Equal(t, len(names), again.Kept)
	require.Negative(t, again.Findings[0].Draw)
	require.Contains(t, printed(t, again), "failed before")
	require.Equal(t, "keys = 2", again.Findings[0].Condition.Text)

	fixed, err := Run(t.Context(), builtin.Subject(), Options{Seed: 99, Count: 1, Corpus: dir})
	require.NoError(t, err)
	require.Equal(t, 1+len(names), fixed.Passed)
}

// A kernel of 64 features and their multiples offers something.
func TestOffersOfAKernelOfFewWidths(t *testing.T) {
	wide := func(c *call) bool { return c.headDim%64 == 0 }
	o, err := newRunner(kernelSubject("k", only(wide, (*call).right)), nil).offers(t.Context())
	require.NoError(t, err)
	require.True(t, o.kinds[false])
	require.NotEmpty(t, o.features[false])
	none := func(*call) bool { return false }
	_, err = newRunner(kernelSubject("k", only(none, (*call).right)), nil).offers(t.Context())
	require.ErrorContains(t, err, "offers neither")
}

// Draws keep to what the subject offers.
func TestOffers(t *testing.T) {
	plain := func(c *call) bool {
		return c.o.Allow == nil && c.o.Bias == nil && c.o.KeyLengths == nil && c.past == 0 && !c.o.ALiBi &&
			c.o.Sinks == nil && !c.o.GroupedQuery
	}
	r := newRunner(kernelSubject("k", only(plain, (*call).right)), nil)
	o, err := r.offers(t.Context())
	require.NoError(t, err)
	require.False(t, o.kinds[true])
	var names []string
	for _, f := range o.features[false] {
		names = append(names, f.name)
	}
	require.Contains(t, names, "causal=lower-right")
	require.Contains(t, names, "window")
	require.Contains(t, names, "precision=float16")
	for _, lacking := range []string{"kv-heads", "mask=bool", "mask=padding", "past", "sinks", "rope=half"} {
		require.NotContains(t, names, lacking)
	}
	for n := range uint64(100) {
		c := newSource(4, n).draw(o)
		out, err := r.try(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, Passed, out.Kind, "%v", c)
	}
}

// Two faults are two findings, and a case that one of them explains is not explained twice.
func TestTwoFaults(t *testing.T) {
	campaign.SkipShort(t)
	r, err := Run(t.Context(), kernelSubject("k", func(c *call) (*attention.Tensor, error) {
		if c.keys == 64 {
			return nil, errors.New("no kernel for 64 keys")
		}
		return c.spoiled(c.o.Softcap > 0)
	}), Options{Seed: 8, Count: 500})
	require.NoError(t, err)
	texts := map[string]bool{}
	for _, f := range r.Findings {
		texts[string(f.Shrunk.Kind)+": "+f.Condition.Text+" "+strings.Join(optionsOf(f.Shrunk.Config), " ")] = true
	}
	require.Equal(t, map[string]bool{"error: keys = 64 ": true, "wrong output: always softcap": true}, texts)
}

// stuck is a subject whose child does not answer for some shapes.
type stuck struct{ subject.Subject }

func (s stuck) Run(ctx context.Context, c *fixture.Case) subject.Result {
	if c.Op == fixture.SDPA && c.Inputs.Key.Shape[2] > 30 {
		time.Sleep(time.Millisecond)
		return subject.Result{Err: errors.New("it has not answered for 1s")}
	}
	return s.Subject.Run(ctx, c)
}

// A hang ends the drawing soon: every one of them costs the whole timeout.
func TestHangs(t *testing.T) {
	r, err := Run(t.Context(), stuck{kernelSubject("k", (*call).right)}, Options{Seed: 1, Count: 5000})
	require.NoError(t, err)
	require.Less(t, r.Draws, 500)
	require.Equal(t, Crashed, r.Findings[0].Shrunk.Kind)
	require.Contains(t, printed(t, r), "it has not answered for 1s")
	require.Less(t, r.Findings[0].Condition.Failed, hungRuns+round)
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Run(ctx, builtin.Subject(), Options{Count: 10})
	require.ErrorIs(t, err, context.Canceled)
}

// Every edge of a tile is drawn within a few hundred numbers.
func TestEdges(t *testing.T) {
	s, seen := newSource(1, 1), map[int]int{}
	for range 3000 {
		seen[s.edge(300)]++
	}
	for _, n := range []int{1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257} {
		require.Positive(t, seen[n], n)
	}
	require.Zero(t, seen[0])
	require.Greater(t, len(seen), 150)
	require.Equal(t, fresh.Config{}, without(fresh.Config{RoPE: "half", RoPEDim: 4, Layer: true}, "layer"))
}

// The time ends the drawing, and not the draws that have begun.
func TestForEndsTheDrawing(t *testing.T) {
	kernel := kernelSubject("k", (*call).right)
	begun := time.Now()
	r, err := Run(t.Context(), kernel, Options{Seed: 1, For: 50 * time.Millisecond})
	require.NoError(t, err)
	require.Positive(t, r.Draws)
	require.Zero(t, r.Draws%batch)
	require.GreaterOrEqual(t, r.Took, 50*time.Millisecond)
	require.Less(t, time.Since(begun), 10*time.Second)
	counted, err := Run(t.Context(), kernel, Options{Seed: 1, Count: r.Draws})
	require.NoError(t, err)
	require.Equal(t, printed(t, counted), printed(t, r))
}

// A draw leaves nothing behind but its outcome.
func TestDrawsAreForgotten(t *testing.T) {
	r := newRunner(kernelSubject("k", (*call).right), nil)
	offered, err := r.offers(t.Context())
	require.NoError(t, err)
	run := func(first, count uint64) {
		configs := make([]fresh.Config, count)
		for i := range configs {
			configs[i] = newSource(2, first+uint64(i)).draw(offered)
		}
		_, err := r.all(t.Context(), configs)
		require.NoError(t, err)
	}
	run(0, 50)
	before := held()
	run(50, 200)
	const each = 8 << 10 // bytes, for a configuration and its outcome
	require.Less(t, held(), before+200*each)
}

// held returns the bytes of memory that are in use.
func held() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // pools are emptied at the second collection
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
