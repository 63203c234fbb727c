// Command asm writes the assembly of package kernel: `go generate` there runs it.
//
// A tile function adds the product of some rows of a left matrix and a panel of columns of a right
// matrix to a result:
//
//	func(k int, a *F, lda int, b *F, ldb int, c *F, ldc int, cols, add int)
//
// Rows of a, b and c begin lda, ldb and ldc elements apart. Every element of c is one chain of
// fused multiply-adds: it begins with the element's old value, or with 0 if add is 0, and takes the
// k products in order.
// Instruction sets differ only in how many chains run side by side.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!purego")
	for _, t := range []number{float32s, float64s} {
		masks := maskTable(t)
		for _, rows := range []int{12, 6, 3, 1} {
			tileAVX512(t, rows)
		}
		for _, rows := range []int{6, 3, 1} {
			tileAVX2(t, rows, masks)
		}
		infinities, c := everywhere(t, "infinity", t.infinity), constantsOf(t)
		for _, wide := range []bool{true, false} {
			scaleMax(t, wide, masks, infinities)
			expSum(t, wide, masks, c)
		}
	}
	Generate()
}

// number is a type of elements with its instructions and, for the exponential, its constants: see
// exp.go.
type number struct {
	name      string
	size      int
	fma       func(ops ...Op)
	load      func(ops ...Op)
	broadcast func(ops ...Op)
	masked    func(from, mask, to Op)
	zeroing   func(from, mask, to Op)

	move, add, subtract, multiply, max, horner, compare, and, shift, addInt func(ops ...Op)
	blend                                                                   func(mask, from, other, to Op)
	multiplyZeroing                                                         func(by, from, mask, to Op)

	magic, ln2High, ln2Low, least float64
	bias, infinity                uint64 // bits of an exponent of 0, and of -Inf
	mantissa, degree              int
}

var float32s = number{
	name: "32", size: 4, fma: VFMADD231PS, load: VMOVUPS, broadcast: VBROADCASTSS,
	masked: VMASKMOVPS, zeroing: VMOVUPS_Z,

	move: VMOVAPS, add: VADDPS, subtract: VSUBPS, multiply: VMULPS, max: VMAXPS, horner: VFMADD213PS,
	compare: VCMPPS, and: VANDPS, shift: VPSLLD, addInt: VPADDD,
	blend: VBLENDVPS, multiplyZeroing: VMULPS_Z,

	magic: 3 << 22, ln2High: 0x1.62e43p-1, ln2Low: -0x1.05c61p-29, least: -87.25,
	bias: 127 << 23, infinity: 511 << 23, mantissa: 23, degree: 7,
}

var float64s = number{
	name: "64", size: 8, fma: VFMADD231PD, load: VMOVUPD, broadcast: VBROADCASTSD,
	masked: VMASKMOVPD, zeroing: VMOVUPD_Z,

	move: VMOVAPD, add: VADDPD, subtract: VSUBPD, multiply: VMULPD, max: VMAXPD, horner: VFMADD213PD,
	compare: VCMPPD, and: VANDPD, shift: VPSLLQ, addInt: VPADDQ,
	blend: VBLENDVPD, multiplyZeroing: VMULPD_Z,

	magic: 3 << 51, ln2High: 0x1.62e42fefa39efp-1, ln2Low: 0x1.abc9e3b39803fp-56, least: -708,
	bias: 1023 << 52, infinity: 4095 << 52, mantissa: 52, degree: 13,
}

// unroll is the number of products of each chain in one turn of the main loop.
const unroll = 4

// tile holds the registers of a tile function.
type tile struct {
	number
	rows   int
	k, lda Register
	b, ldb Register
	a      []Register     // pointers to rows 0, 3, 6 and 9
	sums   [][]VecVirtual // of each row
	right  []VecVirtual   // a row of the panel
	left   []VecVirtual   // elements of a, each in all lanes
}

// begin declares a tile function and loads its arguments, except the ones of the result.
func begin(t number, set string, rows int, vector func() VecVirtual, lefts int) *tile {
	f := "float" + t.name
	TEXT(fmt.Sprintf("tile%s%sx%d", t.name, set, rows), NOSPLIT, fmt.Sprintf(
		"func(k int, a *%s, lda int, b *%s, ldb int, c *%s, ldc int, cols, add int)", f, f, f))
	Pragma("noescape")
	u := &tile{number: t, rows: rows}
	u.k = Load(Param("k"), GP64())
	u.lda = u.stride("lda")
	u.b, u.ldb = Load(Param("b"), GP64()), u.stride("ldb")
	u.a = []Register{Load(Param("a"), GP64())}
	for row := 3; row < rows; row += 3 {
		next := GP64()
		LEAQ(Mem{Base: u.a[len(u.a)-1], Index: u.lda, Scale: 2}, next)
		ADDQ(u.lda, next)
		u.a = append(u.a, next)
	}
	for range rows {
		u.sums = append(u.sums, []VecVirtual{vector(), vector()})
	}
	u.right = []VecVirtual{vector(), vector()}
	for range lefts {
		u.left = append(u.left, vector())
	}
	return u
}

// stride loads an argument in elements, as bytes.
func (u *tile) stride(name string) Register {
	r := Load(Param(name), GP64())
	if u.size == 4 {
		SHLQ(Imm(2), r)
	} else {
		SHLQ(Imm(3), r)
	}
	return r
}

// eachResult calls f with the address of each row of the result.
func (u *tile) eachResult(f func(row int, at Mem)) {
	c, ldc := Load(Param("c"), GP64()), u.stride("ldc")
	for row := range u.rows {
		f(row, Mem{Base: c})
		if row+1 < u.rows {
			ADDQ(ldc, c)
		}
	}
}

// start loads the old values of the result with read, or zeros if add is 0.
func (u *tile) start(read func(v int, at Mem, sum VecVirtual)) {
	add := Load(Param("add"), GP64())
	TESTQ(add, add)
	JZ(LabelRef("zeros"))
	u.eachResult(func(row int, at Mem) {
		for v, sum := range u.sums[row] {
			read(v, at, sum)
		}
	})
	JMP(LabelRef("begin"))
	Label("zeros")
	for _, sums := range u.sums {
		for _, sum := range sums {
			VXORPD(sum, sum, sum)
		}
	}
	Label("begin")
}

// multiply adds all products. A panel that lacks columns is read with masks.
func (u *tile) multiply(width int, whole, masked func(vector int)) {
	cols := Load(Param("cols"), GP64())
	CMPQ(cols, Imm(uint64(width)))
	JL(LabelRef("masked"))
	SUBQ(Imm(unroll), u.k)
	JL(LabelRef("rest"))
	Label("main")
	for step := range unroll {
		u.products(step, whole)
	}
	u.advance(unroll)
	SUBQ(Imm(unroll), u.k)
	JGE(LabelRef("main"))
	Label("rest")
	ADDQ(Imm(unroll), u.k)
	JZ(LabelRef("end"))
	Label("masked")
	u.products(0, masked)
	u.advance(1)
	DECQ(u.k)
	JNZ(LabelRef("masked"))
	Label("end")
}

// products adds one product to every chain: column step of a times a row of the panel.
func (u *tile) products(step int, read func(vector int)) {
	read(0)
	read(1)
	ADDQ(u.ldb, u.b)
	for row := range u.rows {
		at := Mem{Base: u.a[row/3], Disp: step * u.size}
		if row%3 > 0 {
			at.Index, at.Scale = u.lda, uint8(row%3)
		}
		left := u.left[row%len(u.left)]
		u.broadcast(at, left)
		for v, sum := range u.sums[row] {
			u.fma(u.right[v], left, sum)
		}
	}
}

func (u *tile) advance(steps int) {
	for _, a := range u.a {
		ADDQ(Imm(uint64(steps*u.size)), a)
	}
}

// tileAVX512 multiplies panels of two 512-bit vectors. Mask registers hide columns that the panel
// lacks.
func tileAVX512(t number, rows int) {
	u := begin(t, "AVX512", rows, func() VecVirtual { return ZMM() }, 4)
	bytes := 64
	cols, ones := Load(Param("cols"), GP64()), GP64()
	MOVQ(I64(-1), ones)
	BZHIQ(cols, ones, ones)
	masks := []Register{K(), K()}
	KMOVW(ones.As32(), masks[0])
	SHRQ(Imm(uint64(bytes/t.size)), ones)
	KMOVW(ones.As32(), masks[1])
	u.start(func(v int, at Mem, sum VecVirtual) {
		at.Disp = v * bytes
		t.zeroing(at, masks[v], sum)
	})
	u.multiply(2*bytes/t.size,
		func(v int) { t.load(Mem{Base: u.b, Disp: v * bytes}, u.right[v]) },
		func(v int) { t.zeroing(Mem{Base: u.b, Disp: v * bytes}, masks[v], u.right[v]) })
	u.eachResult(func(row int, at Mem) {
		for v, sum := range u.sums[row] {
			at.Disp = v * bytes
			t.load(sum, masks[v], at)
		}
	})
	VZEROUPPER()
	RET()
}

// maskTable declares as many ones as the two vectors of an AVX2 panel have lanes, and as many
// zeros. The masks of a panel of n columns begin n elements before the zeros.
func maskTable(t number) Mem {
	table := GLOBL("masks"+t.name, RODATA|NOPTR)
	for i := range 2 * 64 / t.size {
		value := uint64(0)
		if i < 64/t.size {
			value = 1<<(8*t.size) - 1
		}
		if t.size == 4 {
			DATA(i*t.size, U32(value))
		} else {
			DATA(i*t.size, U64(value))
		}
	}
	return table
}

// tileAVX2 multiplies panels of two 256-bit vectors. Masks from a table hide columns that the panel
// lacks.
func tileAVX2(t number, rows int, table Mem) {
	u := begin(t, "AVX2", rows, func() VecVirtual { return YMM() }, 2)
	const bytes = 32
	cols, masks := Load(Param("cols"), GP64()), GP64()
	LEAQ(table, masks)
	ADDQ(Imm(64), masks)
	shift := GP64()
	MOVQ(cols, shift)
	if t.size == 4 {
		SHLQ(Imm(2), shift)
	} else {
		SHLQ(Imm(3), shift)
	}
	SUBQ(shift, masks)
	mask := func(v int) Mem { return Mem{Base: masks, Disp: v * bytes} }

	u.start(func(v int, at Mem, sum VecVirtual) {
		at.Disp = v * bytes
		t.load(mask(v), sum)
		t.masked(at, sum, sum)
	})
	u.multiply(2*bytes/t.size,
		func(v int) { t.load(Mem{Base: u.b, Disp: v * bytes}, u.right[v]) },
		func(v int) {
			t.load(mask(v), u.right[v])
			t.masked(Mem{Base: u.b, Disp: v * bytes}, u.right[v], u.right[v])
		})
	u.eachResult(func(row int, at Mem) {
		for v, sum := range u.sums[row] {
			at.Disp = v * bytes
			t.load(mask(v), u.right[0])
			t.masked(sum, u.right[0], at)
		}
	})
	VZEROUPPER()
	RET()
}
