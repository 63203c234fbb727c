package oracle

import "slices"

// Clone returns a copy without a cache. Its parameters may be written to; its inputs and masks are
// shared with p and may only be replaced.
func (p *Problem) Clone() *Problem {
	q := p.Uncached()
	for _, values := range q.Parameters() {
		*values = slices.Clone(*values)
	}
	return q
}

// Cached returns a copy of p that remembers what it computes, for itself and for its forks. It
// returns p itself if p does so already. From then on nobody may write to the arrays of p.
func (p *Problem) Cached() *Problem {
	if p.cache != nil && p.cache.owner == p {
		return p
	}
	q := p.Fork()
	known := &products{room: roomForProducts}
	if p.cache != nil {
		known = p.cache.products
	}
	q.cache = newCache(q, known)
	q.shareOutput(p)
	return q
}

// Fork returns a copy for a mistake that replaces arrays and writes to none of them. If p is
// [Problem.Cached], the fork reuses every cached result on which the mistake has no effect.
func (p *Problem) Fork() *Problem {
	q := *p
	q.afterContext, q.loans = false, nil
	if p.Turn != nil {
		turn := *p.Turn
		q.Turn = &turn
	}
	if p.Layer == nil {
		return &q
	}
	l := *p.Layer
	q.Layer = &l
	for _, n := range []**Norm{&l.QueryNorm, &l.KeyNorm} {
		if *n != nil {
			own := **n
			*n = &own
		}
	}
	return &q
}

// ForkAfterContext is a [Problem.Fork] for mistakes that change nothing before the context is
// computed. The fork reuses the cached context without comparing what it depends on.
func (p *Problem) ForkAfterContext() *Problem {
	q := p.Fork()
	q.afterContext = true
	return q
}

// Uncached returns a copy that shares no cache with p, for other inputs.
func (p *Problem) Uncached() *Problem {
	q := p.Fork()
	q.cache = nil
	return q
}

// WithCache makes p use the cache of a [Problem.Cached] problem, and returns p.
func (p *Problem) WithCache(cached *Problem) *Problem {
	p.cache = cached.cache
	return p
}
