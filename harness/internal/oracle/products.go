package oracle

import (
	"math"
	"slices"
	"sync"

	"github.com/difftest/difftest/harness/internal/num"
)

// products are row products x·wᵀ that were computed before, found by the contents of x and w. So
// swapped weights, reordered rows of a weight and reordered inputs need no new product.
type products struct {
	mu     sync.Mutex
	inputs []*cachedInput
	room   int // how many more numbers may be stored
}

// roomForProducts is 192 MiB.
const roomForProducts = 24 << 20

// cachedInput is an input and its products with rows of weights.
type cachedInput struct {
	value   []float64
	width   int
	rows    map[uint64][]int // rows by hash; nil until needed
	blocks  []*block
	columns map[uint64][]column // columns of some blocks by the hash of the weight's row
	indexed int                 // how many blocks are in columns
}

// column is the product of every row of an input and one row of a weight: column at of a block.
type column struct {
	block *block
	at    int
}

// block is a product (rows, n) and the rows of weights (n, width) in it.
type block struct {
	value, weight []float64
	n             int
}

func (c column) weight(width int) []float64 { return c.block.weight[c.at*width:][:width] }

// multiply computes the given rows of y = x W^T. It takes the products that are cached, and
// computes and caches the others. It computes nothing and returns false if not all rows are asked
// for and a product is not cached, or if there is no room for x or for any product. If w belongs to
// the owner of the cache, its rows are not looked for in products with other weights.
func (p *products) multiply(s *pass, y, x []float64, w *weight, rows rowSet, own bool) bool {
	p.mu.Lock()
	in, places := p.find(x, w.in)
	if in == nil && rows == nil {
		in = p.remember(x, w.in)
	}
	if in == nil {
		p.mu.Unlock()
		return false
	}
	columns, missing := in.find(w.value, own)
	if len(missing) == len(columns) && p.room < len(in.value)/w.in*len(missing)+len(w.value) {
		p.mu.Unlock()
		return false
	}
	if len(missing) > 0 && rows == nil {
		p.add(s, in, columns, missing, w.value, own)
	}
	p.mu.Unlock()
	if len(missing) > 0 && rows != nil {
		return false
	}
	gather(y, columns, places, rows)
	return true
}

// find returns a cached input that contains every row of x, and the place of each row in it. The
// places are nil if the input is x itself. The input is nil if there is none.
func (p *products) find(x []float64, width int) (*cachedInput, []int) {
	for _, in := range p.inputs {
		if in.width == width && identityOf(in.value) == identityOf(x) {
			return in, nil
		}
	}
	for _, in := range p.inputs {
		if in.width == width {
			if places := in.places(x); places != nil {
				return in, places
			}
		}
	}
	return nil, nil
}

// remember caches an input; it returns nil if there is no room.
func (p *products) remember(x []float64, width int) *cachedInput {
	if p.room < len(x) {
		return nil
	}
	p.room -= len(x)
	in := &cachedInput{value: x, width: width, columns: map[uint64][]column{}}
	p.inputs = append(p.inputs, in)
	return in
}

// places returns for each row of x its place in the input; nil if one of them is not in it.
func (in *cachedInput) places(x []float64) []int {
	if in.rows == nil {
		in.rows = map[uint64][]int{}
		for row := range len(in.value) / in.width {
			h := hash(in.row(row))
			in.rows[h] = append(in.rows[h], row)
		}
	}
	var places []int
	for own := range slices.Chunk(x, in.width) {
		known := in.rows[hash(own)]
		i := slices.IndexFunc(known, func(row int) bool { return slices.Equal(in.row(row), own) })
		if i < 0 {
			return nil
		}
		places = append(places, known[i])
	}
	return places
}

func (in *cachedInput) row(n int) []float64 { return in.value[n*in.width:][:in.width] }

// find returns the cached column of each row of a weight, and the rows that have none. If the
// weight has to be the same array, all rows are found or none.
func (in *cachedInput) find(weight []float64, same bool) (columns []column, missing []int) {
	columns = make([]column, len(weight)/in.width)
	if b := in.blockOf(weight); b != nil {
		for o := range columns {
			columns[o] = column{b, o}
		}
		return columns, nil
	}
	if same {
		return columns, num.UpTo(len(columns))
	}
	in.index()
	for o := range columns {
		own := weight[o*in.width:][:in.width]
		known := in.columns[hash(own)]
		i := slices.IndexFunc(known, func(c column) bool { return slices.Equal(c.weight(in.width), own) })
		if i < 0 {
			missing = append(missing, o)
			continue
		}
		columns[o] = known[i]
	}
	return columns, missing
}

// blockOf returns the product with a weight, nil if none is cached.
func (in *cachedInput) blockOf(weight []float64) *block {
	for _, b := range in.blocks {
		if identityOf(b.weight) == identityOf(weight) {
			return b
		}
	}
	return nil
}

// index makes the columns of all blocks known by their hashes.
func (in *cachedInput) index() {
	for _, b := range in.blocks[in.indexed:] {
		for i := range b.n {
			c := column{b, i}
			h := hash(c.weight(in.width))
			in.columns[h] = append(in.columns[h], c)
		}
	}
	in.indexed = len(in.blocks)
}

// add computes the missing columns, and caches them if there is room. Values of the owner of the
// cache are kept without a copy.
func (p *products) add(
	s *pass, in *cachedInput, columns []column, missing []int, values []float64, own bool,
) {
	n, count := len(missing), len(in.value)/in.width
	b := &block{value: make([]float64, count*n), weight: values, n: n}
	if n < len(columns) {
		b.weight = make([]float64, 0, n*in.width)
		for _, o := range missing {
			b.weight = append(b.weight, values[o*in.width:][:in.width]...)
		}
	} else if !own {
		b.weight = slices.Clone(values) // a mistake gives its arrays back
	}
	for i, o := range missing {
		columns[o] = column{b, i}
	}
	w := &weight{value: b.weight, in: in.width, out: n}
	s.multiply(b.value, in.value, w, nil)
	w.release()
	if s.ctx.Err() != nil || p.room < len(b.value)+len(b.weight) {
		return
	}
	p.room -= len(b.value) + len(b.weight)
	in.blocks = append(in.blocks, b)
}

// gather writes the given rows of y from columns. Row i of y is row places[i] of the columns, or
// row i if places is nil.
func gather(y []float64, columns []column, places []int, rows rowSet) {
	out, whole := len(columns), wholeBlock(columns)
	for row := range len(y) / out {
		if !rows.has(row) {
			continue
		}
		place := row
		if places != nil {
			place = places[row]
		}
		to := y[row*out:][:out]
		if whole != nil {
			copy(to, whole.value[place*whole.n:])
			continue
		}
		for o, c := range columns {
			to[o] = c.block.value[place*c.block.n+c.at]
		}
	}
}

// wholeBlock returns the block whose columns are the given ones in order, nil if none is.
func wholeBlock(columns []column) *block {
	b := columns[0].block
	if b.n != len(columns) {
		return nil
	}
	for i, c := range columns {
		if c != (column{b, i}) {
			return nil
		}
	}
	return b
}

// hash returns a hash of the bits of numbers: FNV-1a by words, with one more mixing step.
func hash(values []float64) uint64 {
	h := uint64(14695981039346656037)
	for _, v := range values {
		h = (h ^ math.Float64bits(v)) * 1099511628211
		h ^= h >> 29
	}
	return h
}
