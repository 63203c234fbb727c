package harness

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// witnesses are the results of a run, asked whether they speak against a mistake. What was worked out
// once is kept.
type witnesses struct {
	results  []report.Result
	cases    map[string]*fixture.Case
	referees map[string]func() *Referee // nil: the oracle cannot judge the case

	precision oracle.Precision // declared

	seen  cache[string, bool]
	lists cache[string, []string]
}

func newWitnesses(report *Report, cases map[string]*fixture.Case) *witnesses {
	w := &witnesses{
		results: report.Results, cases: cases, referees: map[string]func() *Referee{},
		precision: arithmetics[subject.Precision(report.Precision)],
	}
	for name, c := range cases {
		w.referees[name] = sync.OnceValue(func() *Referee {
			if c == nil || c.Op == fixture.Module {
				return nil
			}
			r, err := newRefereeIn(context.Background(), c, w.precision)
			if err != nil {
				return nil
			}
			return r
		})
	}
	return w
}

// passes counts the cases that may speak against mistakes: those that are right, and known to the
// oracle.
func (w *witnesses) passes() int {
	n := 0
	for _, r := range w.results {
		if c := w.cases[r.Case]; r.Right() && c != nil && c.Op != fixture.Module {
			n++
		}
	}
	return n
}

func (w *witnesses) hasParameters(name string) bool {
	c := w.cases[name]
	return c != nil && len(c.State) > 0
}

// passing names the cases that are right, and would not be with this mistake.
func (w *witnesses) passing(ctx context.Context, m catalogue.Mistake) []string {
	return w.lists.get(m.ID, func() []string {
		return w.which(ctx, func(r report.Result) bool { return r.Right() && w.sees(r.Case, m) })
	})
}

// first names a case that speaks against a mistake on a failure, which may as well be one of its rivals;
// "" where none does. Cases that claim to see it are asked first.
func (w *witnesses) first(ctx context.Context, m catalogue.Mistake, rivals []catalogue.Mistake, failure string) string {
	asked := slices.Clone(w.results)
	slices.SortStableFunc(asked, func(a, b report.Result) int { return w.claims(b.Case, m) - w.claims(a.Case, m) })
	for _, r := range asked {
		if ctx.Err() != nil {
			return ""
		}
		if r.Case != failure && (r.Right() && w.sees(r.Case, m) || r.Wrong() && w.excludes(r, m, rivals)) {
			return r.Case
		}
	}
	return ""
}

func (w *witnesses) claims(name string, m catalogue.Mistake) int {
	if c := w.cases[name]; c != nil && slices.Contains(c.Detects, m.ID) {
		return 1
	}
	return 0
}

// sees says whether a mistake takes a case's output out of the noise.
func (w *witnesses) sees(name string, m catalogue.Mistake) bool {
	return w.seen.get(name+" "+m.ID, func() bool {
		r := w.referee(name)
		if r == nil {
			return false
		}
		out, ok := planted(r.c, w.precision, m)
		return ok && !compare.Outputs(out.Shape, out.Value, r.shown).OK()
	})
}

// excludes says whether a failure is explained by a rival of a mistake and speaks against the mistake
// itself: no explanation has it, and made with any of them, before or after, it gives another output.
// A failure that neither explains says nothing: two mistakes together may look like a third.
func (w *witnesses) excludes(r report.Result, m catalogue.Mistake, rivals []catalogue.Mistake) bool {
	ref := w.referee(r.Case)
	rival := slices.ContainsFunc(r.Diagnosis.Matches, func(match diagnose.Match) bool {
		return slices.ContainsFunc(match.Mistakes, func(m catalogue.Mistake) bool { return contains(rivals, m) })
	})
	if ref == nil || !rival || !w.sees(r.Case, m) {
		return false
	}
	return !slices.ContainsFunc(r.Diagnosis.Matches, func(match diagnose.Match) bool {
		return contains(match.Mistakes, m) ||
			w.sameOutput(ref.c, match.Mistakes, append(slices.Clone(match.Mistakes), m)) ||
			w.sameOutput(ref.c, match.Mistakes, append([]catalogue.Mistake{m}, match.Mistakes...))
	})
}

// sameOutput says whether two lists of mistakes give the same output, within the noise of the first.
func (w *witnesses) sameOutput(c *fixture.Case, a, b []catalogue.Mistake) bool {
	first, _ := planted(c, w.precision, a...)
	second, ok := planted(c, w.precision, b...)
	return !ok || compare.Outputs(second.Shape, second.Value, first).OK()
}

// unscreened counts the right cases that have a mask of a kind, and names those that would be wrong
// without it. Of another finding no passing case says anything.
func (w *witnesses) unscreened(ctx context.Context, probe string) (asked int, against []string) {
	for _, r := range w.results {
		if r.Right() && w.referee(r.Case) != nil && subject.Unscreened(w.cases[r.Case], probe) != nil {
			asked++
		}
	}
	return asked, w.which(ctx, func(r report.Result) bool {
		ref := w.referee(r.Case)
		if !r.Right() || ref == nil {
			return false
		}
		without := subject.Unscreened(ref.c, probe)
		if without == nil {
			return false
		}
		out := inOrder(ref.c, oracle.FromCase(without).Run().Expected())
		return !compare.Outputs(out.Shape, out.Value, ref.shown).OK()
	})
}

func (w *witnesses) referee(name string) *Referee {
	if get := w.referees[name]; get != nil {
		return get()
	}
	return nil
}

// which names the cases of which something holds, asked on all processors, in their order.
func (w *witnesses) which(ctx context.Context, holds func(report.Result) bool) []string {
	answers := make([]bool, len(w.results))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, r := range w.results {
		group.Go(func() error {
			answers[i] = ctx.Err() == nil && holds(r)
			return nil
		})
	}
	_ = group.Wait() // none returns an error
	var names []string
	for i, r := range w.results {
		if answers[i] {
			names = append(names, r.Case)
		}
	}
	return names
}

// cache keeps what was worked out. The zero value is empty; it may be used from several goroutines.
type cache[K comparable, V any] struct {
	mu   sync.Mutex
	kept map[K]V
}

func (c *cache[K, V]) get(key K, work func() V) V {
	c.mu.Lock()
	v, ok := c.kept[key]
	c.mu.Unlock()
	if ok {
		return v
	}
	v = work()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil {
		c.kept = map[K]V{}
	}
	c.kept[key] = v
	return v
}
