package diagnose

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// draws is how often a random mistake is made on a case, to see how much its outputs vary. Of a large case
// each draw needs keys and values of its own, and is most of the work: few must do.
func (s sample) draws() int {
	if s.partial() {
		return 2
	}
	return 8
}

// chance is how much further than the draws another one may be. By chance one in thirty is more than 1.5
// times as far as the farthest of eight, and 5 times as far as the farther of two.
func (s sample) chance() float64 {
	if s.partial() {
		return 5
	}
	return 1.5
}

// Band is what one mistake looks like on this case, against the truth: least and greatest over
// its draws.
type Band struct {
	Mistake catalogue.Mistake
	Rel     Range
	Gain    Range
	Cosine  Range
}

// Range is from the least to the greatest of some values.
type Range struct{ Min, Max float64 }

func (r *Range) add(v float64) {
	r.Min, r.Max = math.Min(r.Min, v), math.Max(r.Max, v)
}

// replay is one mistake made on the sample of a case, without noise.
type replay struct {
	mistake catalogue.Mistake
	outputs [][]float64          // one, or one for each draw; none where it does not apply
	against []compare.Comparison // each output against the truth
}

// applies says whether the case has something to get wrong so.
func (r replay) applies() bool { return len(r.outputs) > 0 }

// visible says whether the sample can see the mistake: its output is outside the noise.
func (r replay) visible() bool {
	return slices.ContainsFunc(r.against, func(c compare.Comparison) bool { return !c.OK() })
}

func (r replay) band() Band {
	first := r.against[0]
	b := Band{r.mistake, Range{first.Rel, first.Rel}, Range{first.Gain, first.Gain}, Range{first.Cosine, first.Cosine}}
	for _, c := range r.against[1:] {
		b.Rel.add(c.Rel)
		b.Gain.add(c.Gain)
		b.Cosine.add(c.Cosine)
	}
	return b
}

// made is what mistakes make of a case, as far as they were made.
type made struct {
	mistakes []catalogue.Mistake
	replays  []*replay     // of each of them, nil: not yet
	turn     chan struct{} // of who makes them
}

// replays makes every mistake that was not made before, and gives those that are known and apply, in the order
// of the catalogue. When ctx ends it gives what there is, and says how many are missing.
func (r *Reference) replays(ctx context.Context) (all []replay, missing int) {
	select {
	case r.made.turn <- struct{}{}:
		defer func() { <-r.made.turn }()
	case <-ctx.Done():
		return nil, len(r.known)
	}
	r.makeAll(ctx)
	for i, made := range r.made.replays {
		switch {
		case !slices.ContainsFunc(r.known, func(m catalogue.Mistake) bool { return m.ID == r.made.mistakes[i].ID }):
		case made == nil:
			missing++
		case made.applies():
			all = append(all, *made)
		}
	}
	return all, missing
}

// makeAll makes what is missing, random mistakes last: nobody asks for their products again.
func (r *Reference) makeAll(ctx context.Context) {
	var done atomic.Int64
	for _, random := range []bool{false, true} {
		var group errgroup.Group
		group.SetLimit(r.together())
		for i, m := range r.made.mistakes {
			if m.Random != random || r.made.replays[i] != nil {
				continue
			}
			group.Go(func() error {
				if made, err := r.replay(ctx, m); err == nil {
					r.made.replays[i] = made
				}
				Progress{"mistakes made", int(done.Add(1)), len(r.made.mistakes)}.Tell(ctx)
				return nil
			})
		}
		_ = group.Wait()
	}
}

// together is how many mistakes are made at once. Those of a large case use all cores by themselves, and
// much memory.
func (r *Reference) together() int {
	if r.sample.partial() {
		return min(2, runtime.GOMAXPROCS(0))
	}
	return runtime.GOMAXPROCS(0)
}

// replay makes one mistake. The error is that ctx ended.
func (r *Reference) replay(ctx context.Context, m catalogue.Mistake) (*replay, error) {
	made := &replay{mistake: m}
	n := 1
	if m.Random {
		n = r.sample.draws()
	}
	for i := range n {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		wrong, ok := catalogue.Make(r.problem, rand.New(rand.NewPCG(1, uint64(i))), m)
		if !ok {
			break
		}
		out, err := wrong.Rows(ctx, r.sample.rows, oracle.ValuesAlone)
		if err != nil {
			return nil, err
		}
		made.outputs = append(made.outputs, out.Value)
		made.against = append(made.against, compare.Outputs(out.Shape, out.Value, r.sample.truth))
	}
	return made, nil
}
