package oracle

import "math"

// view says which keys a query sees and what is added to its scores. Masks are spread out to
// one element for every score, (N, L, S), so that looking one up needs no arithmetic that
// could be wrong in the same way as that of an implementation.
type view struct {
	p                    *Problem
	queries, keys, heads int
	allow                []float64 // 1 or 0; nil: everything
	bias                 []float64 // nil: nothing
}

func (p *Problem) view() view {
	_, queries, keys := p.sizes()
	v := view{p: p, queries: queries, keys: keys, heads: p.heads()}
	if p.Allow != nil {
		ones := make([]float64, len(p.Allow.Data))
		for i, on := range p.Allow.Data {
			if on {
				ones[i] = 1
			}
		}
		v.allow = spread(ones, p.Allow.Shape, p.scores())
	}
	if p.Bias != nil {
		v.bias = spread(p.Bias.Float64s(), p.Bias.Shape, p.scores())
	}
	return v
}

// sees says whether query i of head n sees key j.
func (v view) sees(n, i, j int) bool {
	at := (n*v.queries+i)*v.keys + j
	switch {
	case v.p.Causal && j > i,
		v.p.Block != nil && v.p.Block.Data[i*v.keys+j],
		v.p.Padding != nil && v.p.Padding.Data[n/v.heads*v.keys+j],
		v.allow != nil && v.allow[at] == 0,
		v.bias != nil && math.IsInf(v.bias[at], -1):
		return false
	}
	return true
}

// visible lists the keys that query i of head n sees.
func (v view) visible(n, i int) []int {
	var seen []int
	for j := range v.keys {
		if v.sees(n, i, j) {
			seen = append(seen, j)
		}
	}
	return seen
}

// added is what the additive mask adds to a score.
func (v view) added(n, i, j int) float64 {
	if v.bias == nil {
		return 0
	}
	return v.bias[(n*v.queries+i)*v.keys+j]
}

// spread repeats data along the dimensions in which shape is 1 or absent, aligned from the
// right, one dimension after the other.
func spread(data []float64, shape, target []int) []float64 {
	full := make([]int, len(target))
	for d := range full {
		full[d] = 1
		if back := len(target) - d; back <= len(shape) {
			full[d] = shape[len(shape)-back]
		}
	}
	for d := range target {
		if full[d] != target[d] {
			data = repeat(data, size(full[d+1:]), target[d])
			full[d] = target[d]
		}
	}
	return data
}

// repeat writes each block of the given length times over.
func repeat(data []float64, block, times int) []float64 {
	out := make([]float64, 0, len(data)*times)
	for at := 0; at < len(data); at += block {
		for range times {
			out = append(out, data[at:at+block]...)
		}
	}
	return out
}

// Visible counts the keys that each query sees, in the rows of the result: (..., L). In a layer
// the heads of a row see the same keys.
func (p *Problem) Visible() []int {
	v := p.view()
	n, queries, _ := p.sizes()
	var counts []int
	for head := 0; head < n; head += v.heads {
		for i := range queries {
			counts = append(counts, len(v.visible(head, i)))
		}
	}
	return counts
}
