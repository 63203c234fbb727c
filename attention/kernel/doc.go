// Package kernel multiplies matrices, and computes the exponentials of rows. It knows nothing of
// attention.
//
// Every element of a product is one chain of fused multiply-adds, which takes the terms in order.
// So its bits do not depend on the machine, on the size of the matrices or on the elements that
// are computed beside it. Processors with AVX-512, or with AVX2 and FMA, compute many chains side
// by side in assembly. All others run plain Go, and so does every processor with the build tag
// purego. A NaN is a NaN everywhere, but its payload may differ.
package kernel

//go:generate go run -C asm . -out ../kernel_amd64.s -stubs ../kernel_amd64.go -pkg kernel
