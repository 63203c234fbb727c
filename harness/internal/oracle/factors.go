package oracle

import (
	"slices"
	"sync"

	"github.com/difftest/difftest/attention/kernel"
)

// keyFactors are the keys of one key/value head as right factors of matrix products, (E, S).
type keyFactors struct {
	once                      sync.Once
	values, squares, variance kernel.Right[float64]
}

// valueFactors are the values of one key/value head as right factors of matrix products, (S, Ev).
type valueFactors struct {
	once                      sync.Once
	values, squares, variance kernel.Right[float64]

	// finite is set if values, their squares and their variances are finite. A weight of zero then
	// has no effect.
	finite bool
}

// keysOf returns the factors of a key/value head. It makes them when they are first needed.
func (c *core) keysOf(kvHead int) *keyFactors {
	f := &c.keyFactors[kvHead]
	f.once.Do(func() {
		k := c.k.matrix(kvHead)
		keys, e := k.Shape[0], k.Shape[1]
		f.values = kernel.Transposed(k.Value, e, keys, e, nil)
		if c.noisy() {
			f.squares = kernel.Transposed(k.Value, e, keys, e, nil).Squared()
			f.variance = kernel.Transposed(k.Variance, e, keys, e, nil)
		}
	})
	return f
}

// valuesOf returns the factors of a key/value head. It makes them when they are first needed.
func (c *core) valuesOf(kvHead int) *valueFactors {
	f := &c.valueFactors[kvHead]
	f.once.Do(func() {
		v := c.v.matrix(kvHead)
		keys, ev := v.Shape[0], v.Shape[1]
		f.values = kernel.NewRight(v.Value, keys, ev, ev)
		f.finite = !slices.ContainsFunc(v.Value, notFinite)
		if c.noisy() {
			squared := squares(v.Value)
			f.squares = kernel.NewRight(squared, keys, ev, ev)
			f.variance = kernel.NewRight(v.Variance, keys, ev, ev)
			f.finite = f.finite && !slices.ContainsFunc(squared, notFinite) &&
				!slices.ContainsFunc(v.Variance, notFinite)
		}
	})
	return f
}

func notFinite(v float64) bool { return v-v != 0 }

// fieldIdentity identifies the matrices of a field. See [identity].
type fieldIdentity struct {
	value, variance identity
	rows, columns   int
}

func (f Field) identity() fieldIdentity {
	dims := len(f.Shape)
	return fieldIdentity{identityOf(f.Value), identityOf(f.Variance), f.Shape[dims-2], f.Shape[dims-1]}
}

// knownFactors are the factors of the keys and values that the owner of a cache has, with noise and
// without.
type knownFactors struct {
	mu     sync.Mutex
	keys   map[fieldIdentity][]keyFactors
	values map[fieldIdentity][]valueFactors
}

// factorsOf returns factors for n key/value heads, which the owner of the cache shares if keys or
// values are the owner's.
func (c *cache) factorsOf(k, v Field, n int) ([]keyFactors, []valueFactors) {
	if c == nil {
		return make([]keyFactors, n), make([]valueFactors, n)
	}
	c.factors.mu.Lock()
	defer c.factors.mu.Unlock()
	return known(c.factors.keys, k, n, c.owns(keyRole, k)), known(c.factors.values, v, n, c.owns(valueRole, v))
}

// known returns the factors of a field, which are kept if they are the owner's.
func known[F any](factors map[fieldIdentity][]F, f Field, n int, own bool) []F {
	if !own {
		return make([]F, n)
	}
	if factors[f.identity()] == nil {
		factors[f.identity()] = make([]F, n)
	}
	return factors[f.identity()]
}

// owns reports whether keys or values are the owner's.
func (c *cache) owns(which role, f Field) bool {
	if c.owner.Layer == nil { // inputs get a new variance each time
		given := []Array{queryRole: c.owner.Query, keyRole: c.owner.Key, valueRole: c.owner.Value}[which]
		return !f.noisy() && identityOf(given.Value) == identityOf(f.Value)
	}
	part := &c.parts[which]
	part.mu.Lock()
	defer part.mu.Unlock()
	return part.there && identityOf(part.field.Value) == identityOf(f.Value) && (!f.noisy() ||
		identityOf(part.field.Variance) == identityOf(f.Variance))
}
