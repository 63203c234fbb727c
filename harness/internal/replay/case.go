package replay

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/progress"
)

// Case is a problem, its truth, and the outputs that known mistakes give on it. Each output is
// computed when first needed, and kept. Several goroutines may use a Case.
type Case struct {
	Problem *oracle.Problem // cached
	Truth   compare.Expected

	known  []catalogue.Mistake // the mistakes to try, each followed by its variants
	sample Sample
	early  *early // nil if the case has no early rows
	cache  *replayCache
}

// replayCache holds the replay of each mistake on a case, nil until computed. All cases that
// [Case.Without] returns share it.
type replayCache struct {
	mistakes []catalogue.Mistake
	replays  []*Replay
	turn     chan struct{} // full while a goroutine computes replays

	mu    sync.Mutex
	lower map[*oracle.Precision]compare.Expected // the right sample in each, see sampleIn
}

// NewCase returns the case of a problem and its right result. If the problem is
// [oracle.Problem.Cached] and computed the truth itself, less is computed twice. Nobody may write
// to the arrays of either afterwards.
func NewCase(p *oracle.Problem, truth compare.Expected) *Case {
	p = p.Cached()
	sample := newSample(p, truth)
	return &Case{
		Problem: p, Truth: truth, known: catalogue.WithVariants,
		sample: sample, early: newEarly(p, truth, sample),
		cache: &replayCache{
			mistakes: catalogue.WithVariants,
			replays:  make([]*Replay, len(catalogue.WithVariants)),
			turn:     make(chan struct{}, 1),
			lower:    map[*oracle.Precision]compare.Expected{},
		},
	}
}

// Without returns the same case for a catalogue that lacks a mistake. The two share replays.
func (c *Case) Without(id string) *Case {
	other := *c
	other.known = slices.DeleteFunc(slices.Clone(c.known), func(m catalogue.Mistake) bool { return m.ID == id })
	return &other
}

// every wants every mistake.
func every(catalogue.Mistake) bool { return true }

// atOnce wants the mistakes that every diagnosis of a wrong output needs. Of a large case, random
// mistakes and lower precisions wait until a step asks for them.
func (c *Case) atOnce(m catalogue.Mistake) bool { return m.Replayable() || !c.sample.Partial() }

// replays returns the replays of all known mistakes that apply and are wanted, in the order of the
// catalogue, and computes the ones that are not in the cache yet. When ctx ends it returns the
// finished ones and the number of missing ones.
func (c *Case) replays(ctx context.Context, wanted func(catalogue.Mistake) bool) (all []Replay, missing int) {
	select {
	case c.cache.turn <- struct{}{}:
		defer func() { <-c.cache.turn }()
	case <-ctx.Done():
		return nil, len(c.known)
	}
	c.replayAll(ctx, wanted)
	for i, r := range c.cache.replays {
		switch m := c.cache.mistakes[i]; {
		case !c.knows(m) || !wanted(m):
		case r == nil:
			missing++
		case r.applies():
			all = append(all, *r)
		}
	}
	return all, missing
}

func (c *Case) knows(m catalogue.Mistake) bool {
	return slices.ContainsFunc(c.known, func(known catalogue.Mistake) bool { return known.ID == m.ID })
}

// replayAll puts the wanted mistakes into the cache. Random mistakes come last, because no later
// computation needs their products.
func (c *Case) replayAll(ctx context.Context, wanted func(catalogue.Mistake) bool) {
	var done atomic.Int64
	for _, random := range []bool{false, true} {
		var group errgroup.Group
		group.SetLimit(c.concurrency())
		for i, m := range c.cache.mistakes {
			if m.Random != random || c.cache.replays[i] != nil || !wanted(m) {
				continue
			}
			group.Go(func() error {
				if r, err := c.replay(ctx, m); err == nil {
					c.cache.replays[i] = r
				}
				progress.Tell(ctx, progress.Update{
					Stage: "mistakes made", Done: int(done.Add(1)), Total: len(c.cache.mistakes),
				})
				return nil
			})
		}
		_ = group.Wait()
	}
}

// concurrency returns how many mistakes run at once. On a large case each computation uses all
// cores by itself, and much memory.
func (c *Case) concurrency() int {
	if c.sample.Partial() {
		return min(2, runtime.GOMAXPROCS(0))
	}
	return runtime.GOMAXPROCS(0)
}

// replay makes one mistake on the sample. It fails when ctx ends.
func (c *Case) replay(ctx context.Context, m catalogue.Mistake) (*Replay, error) {
	n := 1
	if m.Random {
		n = c.sample.draws()
	}
	return c.Draw(ctx, m, n)
}

// Draw makes one mistake on the sample n times. Draws of a random mistake differ. It fails when ctx
// ends.
func (c *Case) Draw(ctx context.Context, m catalogue.Mistake, n int) (*Replay, error) {
	r := &Replay{Mistake: m}
	for i := range n {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		wrong, ok := catalogue.Make(c.Problem, rand.New(rand.NewPCG(1, uint64(i))), m)
		if !ok {
			break
		}
		values, made, isEarly, err := c.make(ctx, wrong, m)
		wrong.GiveBack()
		if err != nil {
			return nil, err
		}
		r.Early = isEarly
		r.Outputs, r.Comparisons = append(r.Outputs, values), append(r.Comparisons, made)
	}
	return r, nil
}

// output computes some rows of what an applicable mistake gives; nil means all rows.
func (c *Case) output(m catalogue.Mistake, rows []int, d oracle.Detail) oracle.Field {
	wrong, _ := catalogue.Make(c.Problem, nil, m)
	defer wrong.GiveBack()
	f, _ := wrong.Rows(context.Background(), rows, d) // a background context never ends
	return f
}
