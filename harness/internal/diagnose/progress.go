package diagnose

import "context"

// Progress is how far a long work is: "mistakes made", 61 of 182.
type Progress struct {
	Stage       string
	Done, Total int
}

type progressKey struct{}

// WithProgress lets hear be told how far the work is that is done with a context. It is called from several
// goroutines, and must be quick.
func WithProgress(ctx context.Context, hear func(Progress)) context.Context {
	return context.WithValue(ctx, progressKey{}, hear)
}

// Tell tells whoever listens.
func (p Progress) Tell(ctx context.Context) {
	if hear, ok := ctx.Value(progressKey{}).(func(Progress)); ok {
		hear(p)
	}
}

// Within is a context whose progress is told as that of a part of the work.
func Within(ctx context.Context, part string) context.Context {
	return WithProgress(ctx, func(p Progress) {
		p.Stage = part + ", " + p.Stage
		p.Tell(ctx)
	})
}
