package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/difftest/difftest/harness/internal/causes"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/printable"
	"github.com/difftest/difftest/harness/internal/progress"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// turn is one case of a run.
type turn struct {
	c      *fixture.Case // nil before the case is read, and after the turn has let it go
	done   bool          // the case has its verdict
	source string        // what made the case
	ran    subject.Result
	took   time.Duration // of the subject
	result report.Result
	judged *report.Result // before the subject ran again; nil if it did not
	// declared is the precision that the reply to this case declares; the zero value is none.
	declared subject.Precision
	err      error // the case is broken, or could not be handed to the subject
}

// work is the steps of a check: each case goes through all of them.
type work struct {
	// jobs is how many cases are taken at once; 0 is one.
	jobs int
	// take runs the subject on a case and reports whether ctx let it end. A nil take runs nothing.
	take func(context.Context, *fixture.Case) (ran subject.Result, ended bool)
	// judge gives the verdict. It is called from several goroutines.
	judge func(context.Context, *turn) (report.Result, error)
	// again runs the subject once more on a case that it fails. A nil again runs nothing.
	again func(context.Context, *turn) report.Result
}

// on works through cases and adds them to a report in their order, and then the causes of the
// failures.
func (w work) on(ctx context.Context, r *report.Report, suite fs.FS, names []string) error {
	return w.through(ctx, r, newQueue(ctx, suite, names))
}

// through works through the turns of a queue.
func (w work) through(ctx context.Context, r *report.Report, q *queue) error {
	places := make(chan int, len(q.turns))
	for i := range q.turns {
		places <- i
	}
	close(places)
	var takers, judges errgroup.Group
	judges.SetLimit(runtime.GOMAXPROCS(0))
	takeAll := func() error {
		for i := range places {
			if ctx.Err() == nil && !q.isClosed() {
				w.start(ctx, q, i, &judges)
			}
		}
		return nil
	}
	for range w.jobs - 1 {
		takers.Go(takeAll)
	}
	_ = takeAll()
	_ = takers.Wait() // each turn keeps its own error
	_ = judges.Wait()
	q.rest()
	w.repeat(ctx, q.turns)
	return gather(ctx, r, q)
}

// start takes one case and has it judged in the background.
func (w work) start(ctx context.Context, q *queue, i int, judges *errgroup.Group) {
	name, t := q.names[i], &q.turns[i]
	c, err := fixture.Read(q.shelf.suite, name)
	if err != nil {
		t.err = err
		q.end(i)
		return
	}
	begun := time.Now()
	if w.take != nil {
		ran, ended := w.take(ctx, c)
		if !ended {
			return
		}
		t.ran, t.took = ran, time.Since(begun)
	}
	t.c = c
	judges.Go(func() error {
		t.result, t.err = w.judge(progress.Within(ctx, name), t)
		t.result.Took = t.took
		if t.err != nil && ctx.Err() != nil {
			t.c, t.err = nil, nil // ctx ended before the verdict
			return nil
		}
		t.done, t.source = t.err == nil, c.Provenance.Source()
		q.end(i)
		return nil
	})
}

// repeat runs the subject again on the cases that it fails, as many at once as there are jobs.
func (w work) repeat(ctx context.Context, turns []turn) {
	if w.again == nil {
		return
	}
	var group errgroup.Group
	group.SetLimit(max(1, w.jobs))
	for i := range turns {
		t := &turns[i]
		if t.done && t.result.Wrong() {
			group.Go(func() error {
				judged := t.result
				t.result, t.judged = w.again(ctx, t), &judged
				return nil
			})
		}
	}
	_ = group.Wait() // none returns an error
}

// gather puts all turns into the report and asks for the causes, unless ctx has ended.
func gather(ctx context.Context, r *report.Report, q *queue) error {
	r.Selected = len(q.turns)
	done := 0
	saw := &report.Observed{Precision: r.Precision, Replies: declaredPrecisions(q.turns), General: r.Broken}
	saw.Judged, saw.Probed = make([]report.Result, 0, len(q.turns)), make([]report.Result, 0, len(q.turns))
	for i := range q.turns {
		t := &q.turns[i]
		switch {
		case t.err != nil:
			saw.Broken = append(saw.Broken, report.Broken{Case: q.names[i], Err: printable.Message(t.err.Error())})
		case t.done:
			saw.Judged, saw.Probed = append(saw.Judged, *cmp.Or(t.judged, &t.result)), append(saw.Probed, t.result)
			r.AddSource(t.source)
			q.shelf.keep(q.names[i], t.c)
		default:
			continue // ctx ended before its turn
		}
		done++
	}
	q.turns = nil
	if err := ctx.Err(); err != nil {
		observe(r, saw)
		r.Interrupted = true
		return errors.Join(fmt.Errorf("%w after %d of %d cases", err, done, r.Selected), brokenError(r.Broken))
	}
	return explain(ctx, r, saw, q.shelf.get)
}

// observe puts what a run saw into its report.
func observe(r *report.Report, saw *report.Observed) {
	r.Observed, r.Results = saw, saw.Probed
	r.Broken = slices.Concat(saw.General, saw.Broken)
}

// explain puts what a run saw into its report, and then the causes of the failures.
func explain(ctx context.Context, r *report.Report, saw *report.Observed, cases causes.Cases) error {
	observe(r, saw)
	declarePrecision(r, saw.Replies)
	found := causes.Find(ctx, r.Results, cases, subject.Precision(r.Precision))
	r.Causes, r.Shared, r.Results = found.Causes, found.Shared, found.Results
	return brokenError(r.Broken)
}

func brokenError(broken []report.Broken) error {
	var errs []error
	for _, b := range broken {
		errs = append(errs, errors.New(b.Err))
	}
	return errors.Join(errs...)
}
