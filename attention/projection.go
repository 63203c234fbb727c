package attention

import (
	"runtime"

	"github.com/difftest/difftest/attention/kernel"
)

// projection is one linear map of a layer, y = x weight^T + bias, as torch.nn.Linear.
type projection struct {
	weight  kernel.Right[float32] // weight^T, (in, out)
	bias    []float32             // (out), nil for none
	in, out int
}

// load copies weight (out, in) into the projection, whose own weight it overwrites.
func (p *projection) load(weight, bias []float32, in, out int) {
	*p = projection{kernel.Transposed(weight, in, out, in, p.weight.Memory()), bias, in, out}
}

// apply maps the last dimension of x: (B, T, in) -> (B, T, out). The sum of an output begins with
// its bias.
func (p projection) apply(x *Tensor) *Tensor {
	y := NewTensor(x.Shape[0], x.Shape[1], p.out)
	count := x.Shape[0] * x.Shape[1]
	rows := blockFor(count, runtime.GOMAXPROCS(0))
	parallel((count+rows-1)/rows, rows*p.in*p.out, func(block int) {
		first := block * rows
		n := min(rows, count-first)
		out := y.Data[first*p.out:][:n*p.out]
		for at := 0; at < len(out) && p.bias != nil; at += p.out {
			copy(out[at:], p.bias)
		}
		p.weight.MulAdd(n, x.Data[first*p.in:], p.in, out, p.out)
	})
	return y
}

// blockFor returns the rows of a block, for count rows on a number of cores. Each block reads the
// whole weight, so few large blocks of about the same size are best.
func blockFor(count, cores int) int {
	const least, most, together = 96, 384, 12 // kernels multiply 12 rows together
	blocks := cores * max(1, (count+cores*most-1)/(cores*most))
	rows := (count + blocks - 1) / blocks
	return max(least, (rows+together-1)/together*together)
}
