package graph

import (
	"runtime"
	"sync"
)

// matrix is the weight of a linear layer, in the arithmetic in which it is stored.
type matrix[W Float] struct {
	data       []W
	out, inner int
	steps      [2]int // from one output feature to the next, and from one input feature
}

const (
	// tile is how many rows of x share one pass over the weights.
	tile = 4
	// columns is how many output features are gathered at once from a weight of (in, out). They
	// are neighbours in memory.
	columns = 16
	// apart is the least number of products for which another goroutine pays.
	apart = 1 << 18
)

// multiply sets y to x times the transposed weight. Each sum is added in the order of the input
// features, in T, so that the number of goroutines changes no bit.
func multiply[T, W Float](x []T, w matrix[W], y []T) {
	if w.inner == 0 || w.out == 0 {
		return
	}
	rows := len(x) / w.inner
	packed := pack(x, rows, w.inner)
	workers := min(runtime.GOMAXPROCS(0), max(1, rows*w.inner*w.out/apart), (w.out+columns-1)/columns)
	if workers == 1 {
		columnsOf(packed, rows, w, y, 0, w.out)
		return
	}
	share := (w.out + workers - 1) / workers
	share = (share + columns - 1) / columns * columns
	var done sync.WaitGroup
	for from := 0; from < w.out; from += share {
		done.Go(func() { columnsOf(packed, rows, w, y, from, min(from+share, w.out)) })
	}
	done.Wait()
}

// pack returns tiles of rows side by side: element k of a tile holds feature k of each of its rows.
// The last tile is filled up with zeros.
func pack[T Float](x []T, rows, inner int) [][][tile]T {
	var tiles [][][tile]T
	for first := 0; first < rows; first += tile {
		packed := make([][tile]T, inner)
		for r := range min(tile, rows-first) {
			for k, v := range x[(first+r)*inner:][:inner] {
				packed[k][r] = v
			}
		}
		tiles = append(tiles, packed)
	}
	return tiles
}

// columnsOf computes some output features of every row.
func columnsOf[T, W Float](tiles [][][tile]T, rows int, w matrix[W], y []T, from, to int) {
	var gathered []W
	if w.steps[1] != 1 {
		gathered = make([]W, columns*w.inner)
	}
	for ; from < to; from += columns {
		block, end := gathered, min(from+columns, to)
		if gathered == nil {
			block = w.data[from*w.inner : end*w.inner]
		} else {
			w.gather(from, end, gathered)
		}
		for t, packed := range tiles {
			for j := from; j < end; j++ {
				sums := dots(block[(j-from)*w.inner:][:w.inner], packed)
				for r := range min(tile, rows-t*tile) {
					y[(t*tile+r)*w.out+j] = sums[r]
				}
			}
		}
	}
}

// gather copies the weights of some output features side by side.
func (w matrix[W]) gather(from, to int, block []W) {
	for k := range w.inner {
		for j, v := range w.data[k*w.steps[1]+from : k*w.steps[1]+to] {
			block[j*w.inner+k] = v
		}
	}
}

// dots returns the sum of weights[k] * rows[k][r] for each row r of a tile.
func dots[T, W Float](weights []W, rows [][tile]T) [tile]T {
	var a, b, c, d T
	rows = rows[:len(weights)]
	for k, weight := range weights {
		w, row := T(weight), &rows[k]
		a += w * row[0]
		b += w * row[1]
		c += w * row[2]
		d += w * row[3]
	}
	return [tile]T{a, b, c, d}
}

// readsNarrow maps the operators that read the narrow elements of an operand, or its parts, to its
// place.
var readsNarrow = map[string]int{"linear": 1, "embedding": 0, "index": 0, "matmul": 0}
