package oracle

import (
	"sync"

	"github.com/difftest/difftest/harness/internal/num"
)

// blockRows is the number of rows that are multiplied together: so few that their scores stay in
// the processor's cache, and a multiple of the rows that the kernels multiply at once.
const blockRows = 24

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
