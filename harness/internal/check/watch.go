package check

import (
	"context"
	"io/fs"
	"sync"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/printable"
	"github.com/difftest/difftest/harness/internal/progress"
	"github.com/difftest/difftest/harness/internal/report"
)

// Judged is a case of a run, as soon as it has its verdict. Result is not final: the subject runs
// again on cases that it fails, and other cases may rule out explanations.
type Judged struct {
	Result report.Result
	// Broken says why the case has no verdict; "" if it has one.
	Broken string
	// Output and Weights are what the subject gave; nil if it gave none.
	Output, Weights *attention.Tensor
}

// Watcher hears of every case in the order of the cases, each once and never two at a time. It
// returns false to end the run: later cases are then left out of the report.
type Watcher func(Judged) (more bool)

type watcherKey struct{}

// Watched returns a context whose checks tell a watcher of every case.
func Watched(ctx context.Context, watcher Watcher) context.Context {
	return context.WithValue(ctx, watcherKey{}, watcher)
}

// queue announces turns in their order. Turns may end in any order.
type queue struct {
	ctx   context.Context
	watch Watcher // nil if nobody watches
	names []string
	turns []turn
	shelf *shelf

	mu     sync.Mutex
	ended  []bool
	next   int // the first turn that is not announced
	closed bool
}

func newQueue(ctx context.Context, suite fs.FS, names []string) *queue {
	watch, _ := ctx.Value(watcherKey{}).(Watcher)
	return &queue{
		ctx: ctx, watch: watch, names: names, shelf: newShelf(suite),
		turns: make([]turn, len(names)), ended: make([]bool, len(names)),
	}
}

// end notes that a turn has its verdict, or is broken. It announces all turns whose time has come.
func (q *queue) end(i int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended[i] = true
	for q.next < len(q.turns) && q.ended[q.next] {
		q.announce(q.next)
	}
}

// rest announces the turns that ended behind one that ctx stopped.
func (q *queue) rest() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.next < len(q.turns) {
		q.announce(q.next)
	}
}

// announce tells of one turn. A turn behind the end of the run is emptied instead.
func (q *queue) announce(i int) {
	t := &q.turns[i]
	q.next++
	switch {
	case q.closed:
		*t = turn{}
		return
	case t.err == nil && !t.done:
		return // ctx ended before its verdict
	}
	if q.watch != nil {
		about := Judged{Result: t.result, Output: t.ran.Output, Weights: t.ran.Weights}
		if t.err != nil {
			about = Judged{Result: report.Result{Case: q.names[i]}, Broken: printable.Message(t.err.Error())}
		}
		q.closed = !q.watch(about)
	}
	t.letGo(q.shelf, q.names[i])
	progress.Tell(q.ctx, progress.Update{Stage: progress.Cases, Done: q.next, Total: len(q.turns)})
}

// isClosed reports whether the watcher has ended the run.
func (q *queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}
