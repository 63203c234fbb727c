package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// row is a function of the elements of one row. It takes 64 bytes at a time: one vector of 512
// bits, or two of 256. Masks hide what the last ones lack.
type row struct {
	number
	s, n    Register
	vectors int
	bytes   int // of a vector
	result  []VecVirtual
	masks   []Register // of 512-bit vectors
	table   Mem        // of masks for 256-bit vectors
	at      Register   // in the table
}

// beginRow declares a function of a row and a number. It returns the number in all lanes.
func beginRow(t number, name string, wide bool, table Mem) (*row, VecVirtual) {
	u := &row{number: t, vectors: 2, bytes: 32, table: table}
	set, vector := "AVX2", func() VecVirtual { return YMM() }
	if wide {
		u.vectors, u.bytes, set, vector = 1, 64, "AVX512", func() VecVirtual { return ZMM() }
	}
	f := "float" + t.name
	TEXT(name+t.name+set, NOSPLIT, fmt.Sprintf("func(s *%s, n int, by %s) %s", f, f, f))
	Pragma("noescape")
	u.s, u.n = Load(Param("s"), GP64()), Load(Param("n"), GP64())
	by := vector()
	address, err := Param("by").Resolve()
	if err != nil {
		panic(err)
	}
	t.broadcast(address.Addr, by)
	for range u.vectors {
		u.result = append(u.result, vector())
	}
	return u, by
}

func (u *row) vector() VecVirtual {
	if u.vectors == 1 {
		return ZMM()
	}
	return YMM()
}

// each calls f for each vector of the row, in a loop.
func (u *row) each(f func(v int)) {
	lanes := 64 / u.size
	Label("loop")
	now := GP64()
	MOVQ(U32(lanes), now)
	CMPQ(u.n, now)
	CMOVQLT(u.n, now)
	u.hide(now)
	for v := range u.vectors {
		f(v)
	}
	ADDQ(Imm(64), u.s)
	SUBQ(Imm(uint64(lanes)), u.n)
	JG(LabelRef("loop"))
}

// hide prepares masks that keep the given number of elements and hide the rest of a vector.
func (u *row) hide(elements Register) {
	if u.vectors == 1 {
		ones, k := GP64(), K()
		MOVQ(I64(-1), ones)
		BZHIQ(elements, ones, ones)
		KMOVW(ones.As32(), k)
		u.masks = []Register{k}
		return
	}
	u.at = GP64()
	LEAQ(u.table, u.at)
	ADDQ(Imm(64), u.at)
	if u.size == 4 {
		SHLQ(Imm(2), elements)
	} else {
		SHLQ(Imm(3), elements)
	}
	SUBQ(elements, u.at)
}

func (u *row) element(v int) Mem { return Mem{Base: u.s, Disp: v * u.bytes} }
func (u *row) mask(v int) Mem    { return Mem{Base: u.at, Disp: v * u.bytes} }

// read loads a vector, with zeros for what it lacks.
func (u *row) read(v int) VecVirtual {
	x := u.vector()
	if u.vectors == 1 {
		u.zeroing(u.element(v), u.masks[v], x)
		return x
	}
	u.load(u.mask(v), x)
	u.masked(u.element(v), x, x)
	return x
}

func (u *row) write(v int, x VecVirtual) {
	if u.vectors == 1 {
		u.load(x, u.masks[v], u.element(v))
		return
	}
	mask := YMM()
	u.load(u.mask(v), mask)
	u.masked(x, mask, u.element(v))
}

// end combines the lanes of the result, the second half with the first, until one is left.
func (u *row) end(combine func(ops ...Op)) {
	low, half := u.result[0].AsY(), Register(YMM())
	if u.vectors == 1 {
		VEXTRACTF64X4(Imm(1), u.result[0], half)
	} else {
		half = u.result[1]
	}
	combine(half, low, low)
	x, upper := u.result[0].AsX(), XMM()
	VEXTRACTF128(Imm(1), low, upper)
	combine(upper, x, x)
	VPERMILPD(Imm(1), x, upper)
	combine(upper, x, x)
	if u.size == 4 {
		VPERMILPS(Imm(1), x, upper)
		combine(upper, x, x)
	}
	VZEROUPPER()
	Store(x, ReturnIndex(0))
	RET()
}

// scaleMax multiplies a row by a number and returns the largest element.
func scaleMax(t number, wide bool, masks, infinities Mem) {
	u, by := beginRow(t, "scaleMax", wide, masks)
	for _, top := range u.result {
		t.load(infinities, top)
	}
	u.each(func(v int) {
		x, top := u.read(v), u.result[v]
		t.multiply(by, x, x)
		u.write(v, x)
		if wide {
			t.max(top, x, u.masks[v], top)
			return
		}
		mask := YMM()
		t.load(u.mask(v), mask)
		t.blend(mask, x, top, x)
		t.max(top, x, top)
	})
	u.end(t.max)
}

// expSum replaces a row by its exponentials, as exp32 and exp64 compute them, and returns their
// sum.
func expSum(t number, wide bool, masks Mem, c constants) {
	u, top := beginRow(t, "expSum", wide, masks)
	for _, sum := range u.result {
		VXORPD(sum, sum, sum)
	}
	u.each(func(v int) {
		x := u.read(v)
		t.subtract(top, x, x)
		shifted, n, p := u.vector(), u.vector(), u.vector()
		t.load(c.magic, shifted)
		t.fma(c.log2e, x, shifted)
		t.subtract(c.magic, shifted, n)
		r := u.vector()
		t.move(x, r)
		t.fma(c.ln2High, n, r)
		t.fma(c.ln2Low, n, r)
		t.load(c.taylor[0], p)
		for _, coefficient := range c.taylor[1:] {
			t.horner(coefficient, r, p)
		}
		t.shift(Imm(uint64(t.mantissa)), shifted, shifted)
		t.addInt(c.bias, shifted, shifted)
		const notLess = 0x15 // or NaN
		if wide {
			kept := K()
			t.compare(Imm(notLess), c.least, x, u.masks[v], kept)
			t.multiplyZeroing(shifted, p, kept, p)
		} else {
			t.compare(Imm(notLess), c.least, x, x)
			t.multiply(shifted, p, p)
			t.and(x, p, p)
			t.and(u.mask(v), p, p)
		}
		u.write(v, p)
		t.add(p, u.result[v], u.result[v])
	})
	u.end(t.add)
}

// constants are numbers in memory, in 64 bytes each.
type constants struct {
	magic, log2e, ln2High, ln2Low, bias, least Mem
	taylor                                     []Mem
}

// everywhere declares a number in all lanes of 64 bytes.
func everywhere(t number, name string, bits uint64) Mem {
	at := GLOBL(name+t.name, RODATA|NOPTR)
	for i := 0; i < 64; i += t.size {
		if t.size == 4 {
			DATA(i, U32(bits))
		} else {
			DATA(i, U64(bits))
		}
	}
	return at
}

func constantsOf(t number) constants {
	value := func(name string, v float64) Mem {
		if t.size == 4 {
			return everywhere(t, name, uint64(math.Float32bits(float32(v))))
		}
		return everywhere(t, name, math.Float64bits(v))
	}
	c := constants{
		magic: value("magic", t.magic), log2e: value("log2e", 1/math.Ln2),
		ln2High: value("ln2High", -t.ln2High), ln2Low: value("ln2Low", -t.ln2Low),
		bias: everywhere(t, "bias", t.bias), least: value("least", t.least),
	}
	factorial := 1.0
	for i := range t.degree {
		factorial *= float64(i + 1)
	}
	for i := t.degree; i >= 0; i-- {
		c.taylor = append(c.taylor, value(fmt.Sprintf("taylor%d_", i), 1/factorial))
		factorial /= float64(max(1, i))
	}
	return c
}
