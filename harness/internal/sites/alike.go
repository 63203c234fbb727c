package sites

import (
	"reflect"
	"slices"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// setAlike sets, for each site, the first site that is alike. A mistake that applies to one of them
// applies to all, so that one answers for the layers of a model.
func setAlike(found []*Site) {
	for i, s := range found {
		s.first = s
		if before := slices.IndexFunc(found[:i], s.alike); before >= 0 {
			s.first = found[before].first
		}
	}
}

// alike reports whether the problems of two sites differ at most in the numbers in their parameters
// and inputs.
func (s *Site) alike(other *Site) bool {
	p, q := s.problem, other.problem
	return s.unprojected == other.unprojected && slices.Equal(lengths(p), lengths(q)) &&
		slices.Equal(equalInputs(p), equalInputs(q)) && sameCausal(p, q) && reflect.DeepEqual(bare(p), bare(q))
}

// lengths returns the length of each parameter, -1 for nil.
func lengths(p *oracle.Problem) []int {
	var all []int
	for _, values := range p.Parameters() {
		if *values == nil {
			all = append(all, -1)
			continue
		}
		all = append(all, len(*values))
	}
	return all
}

// equalInputs reports which of the inputs have equal elements: query and key, query and value, key
// and value.
func equalInputs(p *oracle.Problem) []bool {
	equal := func(a, b oracle.Array) bool { return slices.Equal(a.Value, b.Value) }
	return []bool{equal(p.Query, p.Key), equal(p.Query, p.Value), equal(p.Key, p.Value)}
}

// sameCausal reports whether queries see the same keys in two problems of the same shapes.
func sameCausal(p, q *oracle.Problem) bool {
	if p.Causal == nil || q.Causal == nil {
		return p.Causal == nil && q.Causal == nil
	}
	queries, keys := p.Query.Shape, p.Key.Shape
	for i := range queries[len(queries)-2] {
		for j := range keys[len(keys)-2] {
			if p.Causal(p.Offset+i, j) != q.Causal(q.Offset+i, j) {
				return false
			}
		}
	}
	return true
}

// bare returns a problem without the numbers in its parameters and inputs, and without the causal
// function, which reflect cannot compare.
func bare(p *oracle.Problem) *oracle.Problem {
	b := p.Uncached()
	for _, values := range b.Parameters() {
		*values = nil
	}
	b.Query.Value, b.Key.Value, b.Value.Value, b.Causal = nil, nil, nil, nil
	return b
}
