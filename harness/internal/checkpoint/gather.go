package checkpoint

import (
	"cmp"
	"encoding/binary"
	"io"
	"slices"

	"github.com/difftest/difftest/attention"
)

// Bounds of a gatherer's memory and of its calls, in bytes.
const (
	gathered = 1 << 24 // of a block, which takes all indices of the last dimensions
	detour   = 1 << 16 // read for a few elements, as quickly as the elements alone
)

// gatherer reads the elements of a view in row-major order, when they are stored in another one. It
// brings them together in blocks.
type gatherer struct {
	storage  io.ReaderAt
	size     int // of an element, in bytes
	view     view
	split    int   // the dimension whose indices are spread over blocks
	step     int   // indices of this dimension in a block
	index    []int // where the next block begins, for each dimension up to split
	finished bool

	block, left []byte // left is the end of block that was not read yet
	span        []byte
}

// newGatherer takes a checked view without empty dimensions.
func newGatherer(storage io.ReaderAt, v view, size int) *gatherer {
	g := &gatherer{storage: storage, size: size, view: v, step: 1}
	inner := size
	for g.split = len(v.shape) - 1; g.split > 0 && v.shape[g.split] <= gathered/inner; g.split-- {
		inner *= v.shape[g.split]
	}
	g.step = max(1, min(gathered/inner, v.shape[g.split]))
	g.index = make([]int, g.split+1)
	return g
}

// Read implements [io.Reader].
func (g *gatherer) Read(p []byte) (int, error) {
	if len(g.left) == 0 {
		if g.finished {
			return 0, io.EOF
		}
		if err := g.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, g.left)
	g.left = g.left[n:]
	return n, nil
}

// fill reads the next block.
func (g *gatherer) fill() error {
	v := view{offset: g.view.offset, shape: slices.Clone(g.view.shape[g.split:]), strides: g.view.strides[g.split:]}
	v.shape[0] = min(g.step, v.shape[0]-g.index[g.split])
	for d, i := range g.index {
		v.offset += i * g.view.strides[d]
	}
	n, err := attention.Size(v.shape)
	if err != nil {
		return err
	}
	g.block = slices.Grow(g.block[:0], n*g.size)[:n*g.size]
	g.left = g.block
	g.advance()
	return g.gather(int64(v.offset), axesOf(v), g.block)
}

// advance moves on to the next block.
func (g *gatherer) advance() {
	g.index[g.split] += g.step
	for d := g.split; g.index[d] >= g.view.shape[d]; d-- {
		if d == 0 {
			g.finished = true
			return
		}
		g.index[d] = 0
		g.index[d-1]++
	}
}

// axis is a dimension of a view. Strides count elements, from and to of the result.
type axis struct{ n, from, to int }

// axesOf returns the dimensions of a view whose result is in row-major order. The dimension whose
// elements are furthest apart in the storage comes first.
func axesOf(v view) []axis {
	axes := make([]axis, len(v.shape))
	to := 1
	for d := len(v.shape) - 1; d >= 0; d-- {
		axes[d] = axis{v.shape[d], v.strides[d], to}
		to *= v.shape[d]
	}
	slices.SortStableFunc(axes, func(a, b axis) int { return cmp.Compare(b.from, a.from) })
	return axes
}

// gather copies the elements of some dimensions, from an element of the storage on. Elements that
// stand close together are read at once.
func (g *gatherer) gather(from int64, axes []axis, to []byte) error {
	extent, n := 1, 1
	for _, a := range axes {
		extent += (a.n - 1) * a.from
		n *= a.n
	}
	const waste = 4
	if extent <= max(detour/g.size, waste*n) || len(axes) == 0 {
		g.span = slices.Grow(g.span[:0], extent*g.size)[:extent*g.size]
		if err := g.read(g.span, from); err != nil {
			return err
		}
		scatter(to, g.span, axes, g.size)
		return nil
	}
	first := axes[0]
	if len(axes) == 2 && first.to == 1 && axes[1].from == 1 {
		return g.transpose(from, first, axes[1], to)
	}
	for i := range first.n {
		if err := g.gather(from+int64(i*first.from), axes[1:], to[i*first.to*g.size:]); err != nil {
			return err
		}
	}
	return nil
}

// transpose is gather for a matrix whose columns lie in the storage one behind another. Many
// columns are read before a row is written, so that its elements fill lines of the processor's
// cache.
func (g *gatherer) transpose(from int64, columns, rows axis, to []byte) error {
	const together = 64
	g.span = slices.Grow(g.span[:0], together*rows.n*g.size)[:together*rows.n*g.size]
	for at := 0; at < columns.n; at += together {
		n := min(together, columns.n-at)
		for c := range n {
			column := g.span[c*rows.n*g.size:][:rows.n*g.size]
			if err := g.read(column, from+int64((at+c)*columns.from)); err != nil {
				return err
			}
		}
		for r := range rows.n {
			scatterRow(to[(r*rows.to+at)*g.size:], g.span[r*g.size:], axis{n, rows.n, 1}, g.size)
		}
	}
	return nil
}

// read fills p with what the storage holds from an element on.
func (g *gatherer) read(p []byte, from int64) error {
	if n, err := g.storage.ReadAt(p, from*int64(g.size)); n < len(p) {
		return cutOff(err)
	}
	return nil
}

// scatter copies elements from their places in a storage to their places in the result.
func scatter(to, from []byte, axes []axis, size int) {
	if len(axes) == 0 {
		copy(to[:size], from[:size])
		return
	}
	first := axes[0]
	if len(axes) == 1 {
		scatterRow(to, from, first, size)
		return
	}
	for i := range first.n {
		scatter(to[i*first.to*size:], from[i*first.from*size:], axes[1:], size)
	}
}

// scatterRow is scatter for one dimension.
func scatterRow(to, from []byte, a axis, size int) {
	switch {
	case a.from == 1 && a.to == 1:
		copy(to[:a.n*size], from[:a.n*size])
	case size == 4: // most weights
		for i := range a.n {
			binary.LittleEndian.PutUint32(to[4*i*a.to:], binary.LittleEndian.Uint32(from[4*i*a.from:]))
		}
	case size == 2:
		for i := range a.n {
			binary.LittleEndian.PutUint16(to[2*i*a.to:], binary.LittleEndian.Uint16(from[2*i*a.from:]))
		}
	default:
		for i := range a.n {
			copy(to[i*a.to*size:][:size], from[i*a.from*size:][:size])
		}
	}
}
