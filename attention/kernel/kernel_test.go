package kernel_test

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention/kernel"
)

const most = 70 // rows, columns and terms

// prefixes holds the products of a (70, 70) and b (70, 70), computed by plain loops: for each k the
// chains of the first k terms, which begin with c (70, 70).
type prefixes[F kernel.Float] struct {
	a, b, c []F
	sums    [most + 1][]F
}

func newPrefixes[F kernel.Float](draw func() F, fma func(x, y, z F) F) *prefixes[F] {
	p := &prefixes[F]{a: make([]F, most*most), b: make([]F, most*most), c: make([]F, most*most)}
	for _, m := range [][]F{p.a, p.b, p.c} {
		for i := range m {
			m[i] = draw()
		}
	}
	p.multiply(fma)
	return p
}

func (p *prefixes[F]) multiply(fma func(x, y, z F) F) {
	p.sums[0] = p.c
	for k := range most {
		next := make([]F, most*most)
		for i := range most {
			for j := range most {
				next[i*most+j] = fma(p.a[i*most+k], p.b[k*most+j], p.sums[k][i*most+j])
			}
		}
		p.sums[k+1] = next
	}
}

// strided copies the corner (rows, cols) of a matrix (70, 70) into rows that begin a stride apart,
// with NaN between them.
func strided[F kernel.Float](m []F, rows, cols, stride int) []F {
	out := make([]F, max(0, (rows-1)*stride+cols))
	for i := range out {
		out[i] = F(math.NaN())
	}
	for i := range rows {
		copy(out[i*stride:][:cols], m[i*most:][:cols])
	}
	return out
}

func transposed[F kernel.Float](m []F) []F {
	out := make([]F, len(m))
	for i := range most {
		for j := range most {
			out[j*most+i] = m[i*most+j]
		}
	}
	return out
}

// same reports whether two numbers have the same bits. All NaN are the same.
func same[F kernel.Float](a, b F) bool {
	return math.Float64bits(float64(a)) == math.Float64bits(float64(b)) || (a != a && b != b)
}

// require checks the product of the corners of m rows, k terms and n columns.
func (p *prefixes[F]) require(t *testing.T, m, k, n, pad int) {
	a, c := strided(p.a, m, k, k+pad), strided(p.c, m, n, n+pad)
	var right kernel.Right[F]
	if pad%2 == 0 {
		right = kernel.NewRight(strided(p.b, k, n, n+pad), k, n, n+pad)
	} else {
		right = kernel.Transposed(strided(transposed(p.b), n, k, k+pad), k, n, k+pad, nil)
	}
	right.MulAdd(m, a, k+pad, c, n+pad)
	for i := range c {
		row, col := i/(n+pad), i%(n+pad)
		if col >= n {
			require.True(t, c[i] != c[i], "(%d, %d, %d): wrote between the rows", m, k, n)
			continue
		}
		if want := p.sums[k][row*most+col]; !same(want, c[i]) {
			t.Fatalf("(%d, %d, %d), element (%d, %d): %v, want %v", m, k, n, row, col, c[i], want)
		}
	}
}

// oneIn returns how many sizes there are for one that a test tries. It is larger for the slow
// plain Go. The packages of harness call campaign.Full.
func oneIn() int {
	n := 200
	if os.Getenv("DIFFTEST_CAMPAIGNS") == "1" {
		n = 16
	}
	if kernel.Used() == kernel.Plain {
		n *= 20
	}
	return n
}

func (p *prefixes[F]) requireSizes(t *testing.T) {
	r, rare := rand.New(rand.NewPCG(1, 2)), oneIn()
	for m := range most + 1 {
		for n := range most + 1 {
			for k := range most + 1 {
				if r.IntN(rare) == 0 {
					p.require(t, m, k, n, r.IntN(9))
				}
			}
		}
	}
}

func eachSet(t *testing.T, f func(t *testing.T)) {
	before := kernel.Used()
	t.Cleanup(func() { kernel.Use(before) })
	for _, set := range kernel.Sets() {
		kernel.Use(set)
		require.Equal(t, set, kernel.Used())
		t.Run(string(set), f)
	}
}

// Every set computes every product as plain loops do, bit by bit.
func TestMulAddIsAChainOfFMA(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, odd := range map[string]float64{"numbers": 0, "NaN, Inf, subnormals": 0.01} {
		doubles := newPrefixes(func() float64 { return drawn(r, odd, 1023) }, math.FMA)
		singles := newPrefixes(func() float32 { return float32(drawn(r, odd, 127)) }, kernel.ExactFMA32)
		t.Run(name, func(t *testing.T) {
			eachSet(t, func(t *testing.T) {
				doubles.requireSizes(t)
				singles.requireSizes(t)
			})
		})
	}
}

// drawn draws a normal number. With the given probability it draws a number of any size, an
// infinity or NaN.
func drawn(r *rand.Rand, odd float64, exponent int) float64 {
	if r.Float64() >= odd {
		return r.NormFloat64()
	}
	switch r.IntN(8) {
	case 0:
		return math.Inf(1 - 2*r.IntN(2))
	case 1:
		return math.NaN()
	}
	return math.Ldexp(r.NormFloat64(), r.IntN(2*exponent+54)-exponent-52)
}

// A part of the rows continues the chains.
func TestRows(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	p := newPrefixes(r.NormFloat64, math.FMA)
	eachSet(t, func(t *testing.T) {
		for _, right := range []kernel.Right[float64]{
			kernel.NewRight(p.b, most, most, most), kernel.Transposed(transposed(p.b), most, most, most, nil),
		} {
			c := append([]float64{}, p.c...)
			for _, part := range [][2]int{{0, 1}, {1, 0}, {1, 30}, {31, most - 31}, {most, 0}} {
				right.Rows(part[0], part[1]).MulAdd(most, p.a[part[0]:], most, c, most)
			}
			require.Equal(t, p.sums[most], c)
		}
	})
}

// Some columns, from the first of a panel on, have the bits of the whole product.
func TestColumns(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	p := newPrefixes(r.NormFloat64, math.FMA)
	for _, right := range []kernel.Right[float64]{
		kernel.NewRight(p.b, most, most, most), kernel.Transposed(transposed(p.b), most, most, most, nil),
	} {
		for _, columns := range [][2]int{{0, most}, {0, 1}, {15, 16}, {17, 40}, {64, 66}, {69, 80}} {
			part, start := right.Columns(columns[0], columns[1])
			require.LessOrEqual(t, start, columns[0])
			end := min(most, columns[1])
			c := append([]float64{}, p.c...)
			part.MulAdd(most, p.a, most, c[start:], most)
			for i, v := range c {
				want := p.c[i]
				if col := i % most; start <= col && col < end {
					want = p.sums[most][i]
				}
				require.Equal(t, want, v, i)
			}
		}
	}
}

// Mul overwrites what c holds.
func TestMul(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	p := newPrefixes(r.NormFloat64, math.FMA)
	clear(p.c)
	p.multiply(math.FMA)
	eachSet(t, func(t *testing.T) {
		for _, size := range [][3]int{{70, 70, 70}, {13, 17, 11}, {1, 1, 1}, {5, 0, 9}, {0, 4, 4}, {4, 4, 0}} {
			m, k, n := size[0], size[1], size[2]
			c := make([]float64, most*most)
			for i := range c {
				c[i] = math.NaN()
			}
			kernel.NewRight(p.b, k, n, most).Mul(m, p.a, most, c, most)
			for i, v := range c {
				if i/most < m && i%most < n {
					require.Equal(t, p.sums[k][i], v, "%v, element %d", size, i)
				} else {
					require.True(t, v != v, "%v, element %d", size, i)
				}
			}
		}
	})
}

// Memory is used again, whatever it holds.
func TestTransposedInMemory(t *testing.T) {
	p := newPrefixes(func() float64 { return rand.NormFloat64() }, math.FMA)
	memory := make([]float64, 80*80)
	for i := range memory {
		memory[i] = math.NaN()
	}
	b, c := transposed(p.b), append([]float64{}, p.c...)
	var right kernel.Right[float64]
	require.Zero(t, testing.AllocsPerRun(1, func() { right = kernel.Transposed(b, most, most, most, memory) }))
	right.MulAdd(most, p.a, most, c, most)
	require.Equal(t, p.sums[most], c)
}

// Squared squares every element of the right factor.
func TestSquared(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	p := newPrefixes(r.NormFloat64, func(x, y, z float64) float64 { return math.FMA(x, y*y, z) })
	eachSet(t, func(t *testing.T) {
		c := append([]float64{}, p.c...)
		kernel.Transposed(transposed(p.b), most, most, most, nil).Squared().MulAdd(most, p.a, most, c, most)
		require.Equal(t, p.sums[most], c)
	})
}

// Rows that begin a multiple of 4 KiB apart are copied first, and many columns fill more panels
// than are multiplied together.
func TestLargeProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	const rows, k, cols, stride = 13, 600, 150, 1024
	a, b := make([]float64, rows*stride), make([]float64, cols*stride)
	for _, m := range [][]float64{a, b} {
		for i := range m {
			m[i] = r.NormFloat64()
		}
	}
	want := make([]float64, rows*cols)
	for i := range rows {
		for j := range cols {
			for p := range k {
				want[i*cols+j] = math.FMA(a[i*stride+p], b[j*stride+p], want[i*cols+j])
			}
		}
	}
	eachSet(t, func(t *testing.T) {
		got := make([]float64, rows*cols)
		kernel.Transposed(b, k, cols, stride, nil).MulAdd(rows, a, stride, got, cols)
		require.Equal(t, want, got)
	})
}

// Slices that are too short panic before anything is read or written.
func TestShortSlices(t *testing.T) {
	s := func(n int) []float64 { return make([]float64, n) }
	eachSet(t, func(t *testing.T) {
		for name, f := range map[string]func(){
			"left":   func() { kernel.NewRight(s(12), 3, 4, 4).MulAdd(2, s(5), 3, s(8), 4) },
			"right":  func() { kernel.NewRight(s(11), 3, 4, 4).MulAdd(2, s(6), 3, s(8), 4) },
			"result": func() { kernel.NewRight(s(12), 3, 4, 4).MulAdd(2, s(6), 3, s(7), 4) },
			"copied": func() { kernel.Transposed(s(11), 3, 4, 3, nil) },
			"part":   func() { kernel.NewRight(s(12), 3, 4, 4).Rows(1, 3).MulAdd(2, s(6), 3, s(8), 4) },
		} {
			require.Panics(t, f, name)
		}
		kernel.NewRight(s(12), 3, 4, 4).MulAdd(2, s(6), 3, s(8), 4)
	})
}
