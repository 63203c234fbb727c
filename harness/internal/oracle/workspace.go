package oracle

import (
	"slices"
	"sync"

	"github.com/difftest/difftest/attention/kernel"
	"github.com/difftest/difftest/harness/internal/num"
)

// blockRows is the number of rows that are multiplied together: so few that their scores stay in
// the processor's cache, and a multiple of the rows that the kernels multiply at once.
const blockRows = 24

// factors are the keys and values of one key/value head as right factors of matrix products.
type factors struct {
	once                                sync.Once
	keys, keySquares, keyVariance       kernel.Right[float64] // (E, S)
	values, valueSquares, valueVariance kernel.Right[float64] // (S, Ev)

	// finite is set if values, their squares and their variances are finite. A weight of zero then
	// has no effect.
	finite bool
}

// factorsOf returns the factors of a key/value head. It makes them when they are first needed.
func (c *core) factorsOf(kvHead int) *factors {
	f := &c.factors[kvHead]
	f.once.Do(func() {
		k, v := c.k.matrix(kvHead), c.v.matrix(kvHead)
		keys, e, ev := k.Shape[0], k.Shape[1], v.Shape[1]
		f.keys = kernel.Transposed(k.Value, e, keys, e, nil)
		f.values = kernel.NewRight(v.Value, keys, ev, ev)
		f.finite = !slices.ContainsFunc(v.Value, notFinite)
		if c.noisy() {
			f.keySquares = kernel.Transposed(k.Value, e, keys, e, nil).Squared()
			f.keyVariance = kernel.Transposed(k.Variance, e, keys, e, nil)
			valueSquares := squares(v.Value)
			f.valueSquares = kernel.NewRight(valueSquares, keys, ev, ev)
			f.valueVariance = kernel.NewRight(v.Variance, keys, ev, ev)
			f.finite = f.finite && !slices.ContainsFunc(valueSquares, notFinite) &&
				!slices.ContainsFunc(v.Variance, notFinite)
		}
	})
	return f
}

func notFinite(v float64) bool { return v-v != 0 }

// workspace is the memory of a block of rows that are computed together.
type workspace struct {
	*core
	rows []*row

	queries, queryNoise, querySquares []float64    // (rows, E)
	products, productNoise            []float64    // (rows, S)
	dense                             []float64    // (rows, S), see spread
	mixed                             [5][]float64 // (rows, Ev), see mixBlock
}

// workspaces holds workspaces that are free, so that their memory is used again.
type workspaces struct {
	sync.Mutex
	core *core
	free []*workspace
}

func (p *workspaces) take() *workspace {
	p.Lock()
	defer p.Unlock()
	if n := len(p.free); n > 0 {
		w := p.free[n-1]
		p.free = p.free[:n-1]
		return w
	}
	return &workspace{core: p.core}
}

func (p *workspaces) put(w *workspace) {
	p.Lock()
	defer p.Unlock()
	p.free = append(p.free, w)
}

// rowsFor returns rows for context rows of the given numbers, with the keys that take part.
func (w *workspace) rowsFor(numbers []int) []*row {
	for len(w.rows) < len(numbers) {
		w.rows = append(w.rows, &row{core: w.core})
	}
	for i, number := range numbers {
		w.rows[i].begin(number)
	}
	return w.rows[:len(numbers)]
}

// eachBlock calls f for rows side by side that have the same key/value head and some key, at most
// blockRows at a time, and for the first and last of their keys.
func eachBlock(rows []*row, f func(block []*row, keys span)) {
	for len(rows) > 0 {
		if len(rows[0].keys) == 0 {
			rows = rows[1:]
			continue
		}
		n, first, last := 0, rows[0].keys[0], 0
		for n < min(len(rows), blockRows) && rows[n].kvHead == rows[0].kvHead && len(rows[n].keys) > 0 {
			first, last = min(first, rows[n].keys[0]), max(last, num.Last(rows[n].keys))
			n++
		}
		f(rows[:n], span{key: first, n: last + 1 - first})
		rows = rows[n:]
	}
}
