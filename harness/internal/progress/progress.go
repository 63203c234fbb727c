// Package progress tells a listener how far long work is. The listener travels in a context,
// because the work lies behind public functions that have no other business with it.
package progress

import "context"

// Update is how far a piece of work is: "mistakes made", 61 of 182.
type Update struct {
	Stage string
	Done  int
	Total int // 0 if the work is not counted
}

// Cases is the stage of updates that count judged cases: the whole of a run, not a part of it.
const Cases = "cases"

type listenerKey struct{}

// With returns a context that carries a listener. Several goroutines call the listener, so it
// must be quick.
func With(ctx context.Context, listener func(Update)) context.Context {
	return context.WithValue(ctx, listenerKey{}, listener)
}

// Tell calls the listener of a context, if there is one.
func Tell(ctx context.Context, u Update) {
	if listener, ok := ctx.Value(listenerKey{}).(func(Update)); ok {
		listener(u)
	}
}

// Within returns a context for a part of the work: each update names the part before its stage.
func Within(ctx context.Context, part string) context.Context {
	return With(ctx, func(u Update) {
		u.Stage = part + ", " + u.Stage
		Tell(ctx, u)
	})
}
