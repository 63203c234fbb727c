package check

import (
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

// turn is one case of a run. c is nil if ctx ended before the case was judged.
type turn struct {
	c      *fixture.Case
	ran    subject.Result
	took   time.Duration // of the subject
	result report.Result
	judged report.Result // before the subject ran again
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
	q, places := newQueue(ctx, names), make(chan int, len(names))
	for i := range names {
		places <- i
	}
	close(places)
	var takers, judges errgroup.Group
	judges.SetLimit(runtime.GOMAXPROCS(0))
	takeAll := func() error {
		for i := range places {
			if ctx.Err() == nil && !q.isClosed() {
				w.start(ctx, suite, q, i, &judges)
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
	return gather(ctx, r, names, q.turns)
}

// start takes one case and has it judged in the background.
func (w work) start(ctx context.Context, suite fs.FS, q *queue, i int, judges *errgroup.Group) {
	name, t := q.names[i], &q.turns[i]
	c, err := fixture.Read(suite, name)
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
		t.judged = t.result
		if t.err != nil && ctx.Err() != nil {
			t.c, t.err = nil, nil // ctx ended before the verdict
			return nil
		}
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
		if t.c != nil && t.err == nil && t.result.Wrong() {
			group.Go(func() error {
				t.result = w.again(ctx, t)
				return nil
			})
		}
	}
	_ = group.Wait() // none returns an error
}

// gather puts all turns into the report and asks for the causes, unless ctx has ended.
func gather(ctx context.Context, r *report.Report, names []string, turns []turn) error {
	r.Selected = len(names)
	read, done := map[string]*fixture.Case{}, 0
	saw := &report.Observed{Precision: r.Precision, Replies: declaredPrecisions(turns), General: r.Broken}
	for i, t := range turns {
		switch {
		case t.err != nil:
			saw.Broken = append(saw.Broken, report.Broken{Case: names[i], Err: printable.Message(t.err.Error())})
		case t.c != nil:
			saw.Judged, saw.Probed = append(saw.Judged, t.judged), append(saw.Probed, t.result)
			read[names[i]] = t.c
		default:
			continue // ctx ended before its turn
		}
		done++
	}
	if err := ctx.Err(); err != nil {
		observe(r, saw, read)
		r.Interrupted = true
		return errors.Join(fmt.Errorf("%w after %d of %d cases", err, done, len(names)), brokenError(r.Broken))
	}
	return explain(ctx, r, saw, read)
}

// observe puts what a run saw into its report.
func observe(r *report.Report, saw *report.Observed, cases map[string]*fixture.Case) {
	r.Observed, r.Results = saw, saw.Probed
	r.Broken = slices.Concat(saw.General, saw.Broken)
	for _, result := range saw.Probed {
		r.AddSource(cases[result.Case].Provenance.Source())
	}
}

// explain puts what a run saw into its report, and then the causes of the failures.
func explain(ctx context.Context, r *report.Report, saw *report.Observed, cases map[string]*fixture.Case) error {
	observe(r, saw, cases)
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
