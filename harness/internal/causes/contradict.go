package causes

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/parallel"
	"github.com/difftest/difftest/harness/internal/probe"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// witnesses are the cases of a run, asked whether they contradict a mistake. Each answer is
// computed once.
type witnesses struct {
	results []report.Result
	cases   Cases
	// A referee is nil if the oracle cannot judge the case.
	referees cache[string, func() *judge.Referee]
	declared oracle.Precision

	seen  cache[string, bool]
	lists cache[string, []string]
}

func newWitnesses(results []report.Result, cases Cases, declared subject.Precision) *witnesses {
	return &witnesses{results: results, cases: cases, declared: judge.Arithmetic(declared)}
}

// passes counts the cases that may contradict mistakes: they pass, and the oracle knows them.
func (w *witnesses) passes() int {
	n := 0
	for _, r := range w.results {
		if !r.Right() {
			continue
		}
		if c := w.cases(r.Case); c != nil && c.Op != fixture.Module {
			n++
		}
	}
	return n
}

func (w *witnesses) hasParameters(name string) bool {
	c := w.cases(name)
	return c != nil && len(c.State) > 0
}

// passing names the cases that pass, and would fail with the mistake.
func (w *witnesses) passing(ctx context.Context, m catalogue.Mistake) []string {
	return w.lists.get(m.ID, func() []string {
		return w.which(ctx, func(r report.Result) bool { return r.Right() && w.sees(r.Case, m) })
	})
}

// first names the first case that contradicts a mistake on a failure that one of its rivals
// explains as well; "" if none does. The failure itself does not, because a match of it has the
// mistake.
func (w *witnesses) first(ctx context.Context, m catalogue.Mistake, rivals []catalogue.Mistake) string {
	for _, r := range w.results {
		if ctx.Err() != nil {
			return ""
		}
		if r.Right() && w.sees(r.Case, m) || r.Wrong() && w.excludes(r, m, rivals) {
			return r.Case
		}
	}
	return ""
}

// sees reports whether a mistake takes the output of a case out of the noise.
func (w *witnesses) sees(name string, m catalogue.Mistake) bool {
	return w.seen.get(name+" "+m.ID, func() bool {
		r := w.referee(name)
		if r == nil {
			return false
		}
		out, ok := judge.Planted(w.cases(name), w.declared, m)
		return ok && !compare.Outputs(out.Shape, out.Value, r.Expected()).OK()
	})
}

// excludes reports whether a failure that a rival of a mistake explains contradicts the mistake
// itself: no match has the mistake, and made together with any match, before or after, the mistake
// gives another output. A failure that no rival explains says nothing, because two mistakes
// together may look like a third.
func (w *witnesses) excludes(r report.Result, m catalogue.Mistake, rivals []catalogue.Mistake) bool {
	isRival := func(m catalogue.Mistake) bool { return contains(rivals, m) }
	hasRival, has := false, false
	for _, match := range r.Diagnosis.Matches {
		hasRival = hasRival || slices.ContainsFunc(match.Mistakes, isRival)
		has = has || contains(match.Mistakes, m)
	}
	if has || !hasRival || !w.sees(r.Case, m) {
		return false
	}
	c := w.cases(r.Case)
	return !slices.ContainsFunc(r.Diagnosis.Matches, func(match replay.Match) bool {
		return w.sameOutput(c, match.Mistakes, append(slices.Clone(match.Mistakes), m)) ||
			w.sameOutput(c, match.Mistakes, append([]catalogue.Mistake{m}, match.Mistakes...))
	})
}

// sameOutput reports whether two lists of mistakes give the same output, within the noise of the
// first.
func (w *witnesses) sameOutput(c *fixture.Case, a, b []catalogue.Mistake) bool {
	first, _ := judge.Planted(c, w.declared, byStage(a)...)
	second, ok := judge.Planted(c, w.declared, byStage(b)...)
	return !ok || compare.Outputs(second.Shape, second.Value, first).OK()
}

// byStage sorts mistakes into the order of the computation. Mistakes of one stage keep their order.
// A mask that was made for the right shape of the scores is invalid after a mistake that changes
// the shape.
func byStage(mistakes []catalogue.Mistake) []catalogue.Mistake {
	return slices.SortedStableFunc(slices.Values(mistakes), func(a, b catalogue.Mistake) int {
		return cmp.Compare(a.Stage, b.Stage)
	})
}

// withoutMask counts the passing cases that have the mask a probe is about, and names the cases
// that would fail without the mask. It counts none for probes that are not about a mask.
func (w *witnesses) withoutMask(ctx context.Context, id string) (asked int, against []string) {
	without := func(r report.Result) *fixture.Case {
		if !r.Right() || w.referee(r.Case) == nil {
			return nil
		}
		return probe.WithoutMask(w.cases(r.Case), id)
	}
	for _, r := range w.results {
		if without(r) != nil {
			asked++
		}
	}
	return asked, w.which(ctx, func(r report.Result) bool {
		c := without(r)
		if c == nil {
			return false
		}
		out := judge.Right(c)
		return !compare.Outputs(out.Shape, out.Value, w.referee(r.Case).Expected()).OK()
	})
}

func (w *witnesses) referee(name string) *judge.Referee {
	return w.referees.get(name, func() func() *judge.Referee {
		return sync.OnceValue(func() *judge.Referee {
			c := w.cases(name)
			if c == nil || c.Op == fixture.Module {
				return nil
			}
			r, err := judge.New(context.Background(), c, w.declared)
			if err != nil {
				return nil
			}
			return r
		})
	})()
}

// which names the cases for which a statement holds, in their order. All processors are used.
func (w *witnesses) which(ctx context.Context, holds func(report.Result) bool) []string {
	answers := make([]bool, len(w.results))
	parallel.Each(len(answers), func(i int) { answers[i] = ctx.Err() == nil && holds(w.results[i]) })
	var names []string
	for i, r := range w.results {
		if answers[i] {
			names = append(names, r.Case)
		}
	}
	return names
}

// cache keeps answers by their question. The zero value is empty. It may be used from several
// goroutines.
type cache[K comparable, V any] struct {
	mu   sync.Mutex
	kept map[K]V
}

// get returns the answer to a question, which work computes if it is not known. If several
// goroutines compute it at once, all get the answer of the first.
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
	if first, ok := c.kept[key]; ok {
		return first
	}
	if c.kept == nil {
		c.kept = map[K]V{}
	}
	c.kept[key] = v
	return v
}
