package oracle

import (
	"sync"

	"github.com/difftest/difftest/attention/kernel"
)

// cache is shared by a problem, its owner, and the forks of the owner. It holds the queries, keys,
// values and context of the owner, its keys and values as factors, and the row products x·wᵀ that
// any of them computed. Its arrays are read-only. A nil cache holds nothing.
type cache struct {
	owner      *Problem
	arithmetic arithmetic // of the owner
	sources    [3]source
	parts      [3]cachedField
	context    cachedField
	factors    knownFactors
	products   *products
	output     *sharedOutput
}

// sharedOutput is the transpose of the output weight of a layer. Mistakes before the output
// projection all need it.
type sharedOutput struct {
	once  sync.Once
	right kernel.Right[float64]
}

// shareOutput makes the cache of p share the output weight that other has, if it is the same.
func (p *Problem) shareOutput(other *Problem) {
	if other.cache != nil && p.Layer != nil &&
		identityOf(other.cache.owner.Layer.Output.Weight) == identityOf(p.Layer.Output.Weight) {
		p.cache.output = other.cache.output
	}
}

// outputOf returns the transpose of a weight if it is the owner's output weight and the problem is
// a fork of the owner.
func (c *cache) outputOf(s *pass, w *weight) (right kernel.Right[float64], ok bool) {
	if c == nil || s.Problem == c.owner || w.squared || c.owner.Layer == nil ||
		identityOf(w.value) != identityOf(c.owner.Layer.Output.Weight) {
		return right, false
	}
	c.output.once.Do(func() { c.output.right = transposed(w.value, w.in, w.out) })
	return c.output.right, true
}

func newCache(owner *Problem, known *products) *cache {
	c := &cache{
		owner: owner, arithmetic: owner.Precision.arithmetic(), products: known, output: &sharedOutput{},
		factors: knownFactors{keys: map[fieldIdentity][]keyFactors{}, values: map[fieldIdentity][]valueFactors{}},
	}
	if owner.Layer != nil {
		c.sources = owner.sources()
	}
	return c
}

// role is one of queries, keys and values.
type role int

const (
	queryRole role = iota
	keyRole
	valueRole
)

// source identifies everything that queries, keys or values are computed from.
type source struct {
	input, weight, bias, past, learned identity
	heads                              int
	norm                               normSource
	rotary, pastRotary                 *Rotary
	normLast, zeroKey                  bool
	arithmetic                         arithmetic
}

// identity is the memory of an array. A mistake replaces the arrays that it changes, so arrays of
// the same identity have the same contents.
type identity struct {
	first *float64
	n     int
}

func identityOf(values []float64) identity {
	if len(values) == 0 {
		return identity{}
	}
	return identity{&values[0], len(values)}
}

type normSource struct {
	weight                identity
	epsilon               float64
	centered, acrossHeads bool
	exists                bool
}

func (n *Norm) source() normSource {
	if n == nil {
		return normSource{}
	}
	return normSource{identityOf(n.Weight), n.Epsilon, n.Centered, n.AcrossHeads, true}
}

// sources returns the sources of the queries, keys and values of a layer.
func (p *Problem) sources() [3]source {
	l := p.Layer
	query := source{heads: l.Heads, norm: l.QueryNorm.source(), rotary: l.QueryRotary}
	key := source{heads: l.KVHeads, norm: l.KeyNorm.source(), rotary: l.KeyRotary, pastRotary: l.PastRotary}
	value := source{heads: l.KVHeads, norm: l.ValueNorm.source(), rotary: l.ValueRotary}
	key.learned, value.learned = identityOf(l.LearnedKey), identityOf(l.LearnedValue)
	key.zeroKey, value.zeroKey = l.ZeroKey, l.ZeroKey
	if p.Past != nil {
		key.past, value.past = identityOf(p.Past.Key.Value), identityOf(p.Past.Value.Value)
	}
	all := [3]source{query, key, value}
	for i, in := range []Array{p.Query, p.Key, p.Value} {
		projection := l.Projections()[i]
		all[i].input = identityOf(in.Value)
		all[i].weight, all[i].bias = identityOf(projection.Weight), identityOf(projection.Bias)
		all[i].normLast, all[i].arithmetic = l.NormLast, p.Precision.arithmetic()
	}
	return all
}

// projected returns queries, keys or values. If they have the same source as the owner's, it
// returns all rows of the owner's. Otherwise it computes the given rows.
func (c *cache) projected(s *pass, which role, rows rowSet, compute func(rowSet) Field) Field {
	if c == nil {
		return compute(rows)
	}
	own, right := s.sources()[which], c.sources[which]
	if own == right && s.Layer.SplitIndex == nil {
		return c.parts[which].get(s, func() Field { return compute(nil) })
	}
	heads := own.heads
	if own.heads = right.heads; own == right && right.isSplitLinear() && c.owner.Layer.SplitIndex == nil {
		if f, ok := c.parts[which].known(s.detail); ok {
			return s.Layer.splitHeads(new(Layer).mergeHeads(f, nil), heads, nil)
		}
	}
	return compute(rows)
}

// isSplitLinear reports whether a source is split into heads after its projection, and no more.
func (s source) isSplitLinear() bool {
	return !s.norm.exists && s.rotary == nil && s.pastRotary == nil && s.past == identity{} &&
		s.learned == identity{} && !s.zeroKey
}

// contextFor returns the owner's context for a problem that has the same. It returns false if the
// cache does not hold it in the detail of the pass.
func (c *cache) contextFor(s *pass) (Field, bool) {
	if c == nil || !s.afterContext || s.Precision.arithmetic() != c.arithmetic {
		return Field{}, false
	}
	return c.context.known(s.detail)
}

// keepContext stores the whole context if it is the owner's.
func (c *cache) keepContext(s *pass, f Field) {
	if c == nil || c.owner != s.Problem || s.ctx.Err() != nil {
		return
	}
	c.context.mu.Lock()
	defer c.context.mu.Unlock()
	if !c.context.holds(f.detail()) {
		c.context.field, c.context.there = f, true
	}
}

// multiply computes the given rows of y = x W^T, from cached products as far as possible.
func (c *cache) multiply(s *pass, y, x []float64, w *weight, rows rowSet) {
	if c == nil || !c.products.multiply(s, y, x, w, rows, s.Problem == c.owner) {
		s.multiply(y, x, w, rows)
	}
}

// cachedField is a field that is computed once, and once more if its noise is needed later.
type cachedField struct {
	mu    sync.Mutex
	field Field
	there bool
}

// known returns the field in a detail, if it is known in the detail.
func (c *cachedField) known(d Detail) (Field, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.holds(d) {
		return Field{}, false
	}
	return c.field.withDetail(d), true
}

// get returns the field in the detail of the pass, and computes it unless it is known.
func (c *cachedField) get(s *pass, compute func() Field) Field {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.holds(s.detail) {
		f := compute()
		if s.ctx.Err() != nil {
			return f
		}
		c.field, c.there = f, true
	}
	return c.field.withDetail(s.detail)
}

// holds reports whether the field is known in a detail.
func (c *cachedField) holds(d Detail) bool {
	return c.there && (d == ValuesAlone || c.field.noisy())
}
