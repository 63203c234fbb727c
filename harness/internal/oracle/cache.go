package oracle

import (
	"math"
	"slices"
	"sync"
)

// cache is what problems share that were made from one another by [Problem.Later]: of the first of them the
// queries, keys and values and the context, of all of them the products of inputs and rows of weights.
// Nothing that it knows may be written to. A nil cache knows nothing.
type cache struct {
	first     *Problem
	precision [4]float64
	origins   [3]origin
	parts     [3]lockedField
	context   lockedField
	products  *products
}

// lockedField is a field that is computed once, and once more when its noise is asked for.
type lockedField struct {
	mu    sync.Mutex
	field Field
	known bool
}

// part is one of queries, keys and values.
type part int

const (
	queryPart part = iota
	keyPart
	valuePart
)

// origin is all that queries, keys or values are made from. Arrays are those of the same memory: a mistake
// puts another one in their place.
type origin struct {
	input, weight, bias, past, learned memory
	heads                              int
	norm                               normOrigin
	turn, pastTurn                     *Rotary
	normLast, zeroKey                  bool
	precision                          [4]float64
}

// memory is where an array stands.
type memory struct {
	first *float64
	n     int
}

func memoryOf(values []float64) memory {
	if len(values) == 0 {
		return memory{}
	}
	return memory{&values[0], len(values)}
}

type normOrigin struct {
	weight          memory
	epsilon         float64
	centered, whole bool
	exists          bool
}

func (n *Norm) origin() normOrigin {
	if n == nil {
		return normOrigin{}
	}
	return normOrigin{memoryOf(n.Weight), n.Epsilon, n.Centered, n.AcrossHeads, true}
}

// origins are those of queries, keys and values of a layer.
func (p *Problem) origins() [3]origin {
	l := p.Layer
	o := [3]origin{
		{input: memoryOf(p.Query.Value), heads: l.Heads, norm: l.QueryNorm.origin(), turn: l.QueryRotary},
		{input: memoryOf(p.Key.Value), heads: l.KVHeads, norm: l.KeyNorm.origin(), turn: l.KeyRotary, pastTurn: l.PastRotary, learned: memoryOf(l.LearnedKey), zeroKey: l.ZeroKey},
		{input: memoryOf(p.Value.Value), heads: l.KVHeads, norm: l.ValueNorm.origin(), turn: l.ValueRotary, learned: memoryOf(l.LearnedValue), zeroKey: l.ZeroKey},
	}
	if p.Past != nil {
		o[keyPart].past, o[valuePart].past = memoryOf(p.Past.Key.Value), memoryOf(p.Past.Value.Value)
	}
	for i, m := range l.Projections()[:3] {
		o[i].weight, o[i].bias = memoryOf(m.Weight), memoryOf(m.Bias)
		o[i].normLast, o[i].precision = l.NormLast, p.Precision.noise()
	}
	return o
}

// newMemo is that of a problem and those that are made from it.
func newMemo(p *Problem, known *products) *cache {
	m := &cache{first: p, precision: p.Precision.noise(), products: known}
	if p.Layer != nil {
		m.origins = p.origins()
	}
	return m
}

// part gives queries, keys or values: those of the first problem, whole, where they are made from the same.
func (m *cache) part(s *pass, which part, rows wanted, compute func(wanted) Field) Field {
	if m == nil || s.Layer.SplitIndex != nil || s.origins()[which] != m.origins[which] {
		return compute(rows)
	}
	return m.parts[which].get(s, func() Field { return compute(nil) })
}

// get computes a field unless it is known, with noise if the pass has it.
func (l *lockedField) get(s *pass, compute func() Field) Field {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.known || s.noise && !l.field.noisy() {
		f := compute()
		if s.ctx.Err() != nil {
			return f
		}
		l.field, l.known = f, true
	}
	return s.detailed(l.field)
}

// detailed is a field without noise where the pass has none.
func (s *pass) detailed(f Field) Field {
	if !s.noise {
		f.Variance = nil
	}
	return f
}

// contextFor gives the context of the first problem to one that differs from it in what comes later alone.
func (m *cache) contextFor(s *pass) (Field, bool) {
	if m == nil || !s.afterContext || s.Precision.noise() != m.precision {
		return Field{}, false
	}
	m.context.mu.Lock()
	defer m.context.mu.Unlock()
	f := m.context.field
	if !m.context.known || s.noise && !f.noisy() {
		return Field{}, false
	}
	return s.detailed(f), true
}

// keepContext remembers the whole context of the first problem.
func (m *cache) keepContext(s *pass, f Field) {
	if m == nil || m.first != s.Problem || s.ctx.Err() != nil {
		return
	}
	m.context.mu.Lock()
	defer m.context.mu.Unlock()
	if !m.context.known || f.noisy() {
		m.context.field, m.context.known = f, true
	}
}

// product is y = x W^T, of the rows that are wanted.
func (m *cache) product(s *pass, y, x []float64, l Linear, rows wanted) {
	if m == nil || !m.products.take(s, y, x, l, rows) {
		s.multiply(y, x, l.Weight, l.In, rows)
	}
}

// products are those of inputs and rows of weights that were computed before. They are found by their
// contents: swapped weights, or the rows of one in another order, need no product of their own, and neither
// do inputs in another order.
type products struct {
	mu     sync.Mutex
	inputs []*input
	room   int // for so many more numbers
}

// roomForProducts is 192 MiB.
const roomForProducts = 24 << 20

// input is a matrix whose rows were multiplied.
type input struct {
	value   []float64
	width   int
	rows    map[uint64][]int // places of its rows, by their hash; nil until they are looked for
	columns map[uint64][]column
}

// column is the product of every row of an input and one row of a weight.
type column struct {
	of *block
	at int
}

// block is a product (rows, n) and the rows of weights (n, width) that it is of.
type block struct {
	value, weight []float64
	n             int
}

func (c column) weight(width int) []float64 { return c.of.weight[c.at*width:][:width] }

// take puts together a product from what is known, and computes what is not if all rows are wanted. It says
// false where it would have to compute for a few rows alone.
func (p *products) take(s *pass, y, x []float64, l Linear, rows wanted) bool {
	p.mu.Lock()
	in, places := p.find(x, l.In, rows == nil)
	if in == nil {
		p.mu.Unlock()
		return false
	}
	columns, missing := in.find(l.Weight)
	if len(missing) > 0 && rows == nil {
		p.add(s, in, columns, missing, l.Weight)
	}
	p.mu.Unlock()
	if len(missing) > 0 && rows != nil {
		return false
	}
	s.gather(y, columns, places, rows)
	return true
}

// find gives a known input that has all rows of x, and where they stand in it; nil: where they stand in x.
// An unknown one is remembered if it may be, and there is room.
func (p *products) find(x []float64, width int, remember bool) (*input, []int) {
	for _, in := range p.inputs {
		if in.width == width && memoryOf(in.value) == memoryOf(x) {
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
	if !remember || p.room < len(x) {
		return nil, nil
	}
	p.room -= len(x)
	in := &input{value: x, width: width, columns: map[uint64][]column{}}
	p.inputs = append(p.inputs, in)
	return in, nil
}

// places says which row of an input each row of x is; nil where one is none of them.
func (in *input) places(x []float64) []int {
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

func (in *input) row(n int) []float64 { return in.value[n*in.width:][:in.width] }

// find gives the known columns of a weight, and the rows of it that have none.
func (in *input) find(weight []float64) (columns []column, missing []int) {
	columns = make([]column, len(weight)/in.width)
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

// add computes the columns that are missing, and remembers them where there is room.
func (p *products) add(s *pass, in *input, columns []column, missing []int, weight []float64) {
	n, count := len(missing), len(in.value)/in.width
	b := &block{value: make([]float64, count*n), weight: make([]float64, 0, n*in.width), n: n}
	for i, o := range missing {
		b.weight = append(b.weight, weight[o*in.width:][:in.width]...)
		columns[o] = column{b, i}
	}
	s.multiply(b.value, in.value, b.weight, in.width, nil)
	if s.ctx.Err() != nil || p.room < len(b.value)+len(b.weight) {
		return
	}
	p.room -= len(b.value) + len(b.weight)
	for _, o := range missing {
		h := hash(columns[o].weight(in.width))
		in.columns[h] = append(in.columns[h], columns[o])
	}
}

// gather puts the columns side by side, in the rows of an input that stand at the given places.
func (s *pass) gather(y []float64, columns []column, places []int, rows wanted) {
	out := len(columns)
	for row := range len(y) / out {
		if !rows.has(row) {
			continue
		}
		place := row
		if places != nil {
			place = places[row]
		}
		to := y[row*out:][:out]
		for o, c := range columns {
			to[o] = c.of.value[place*c.of.n+c.at]
		}
	}
}

// hash is of the bits of some numbers, FNV-1a by words.
func hash(values []float64) uint64 {
	h := uint64(14695981039346656037)
	for _, v := range values {
		h = (h ^ math.Float64bits(v)) * 1099511628211
		h ^= h >> 29
	}
	return h
}
