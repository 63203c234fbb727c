package probe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// grid says where the rows of a case's output and the tokens of its inputs stand. Groups are the
// batch elements of a layer, and of a function every place in the dimensions before the last two.
// Keys are counted with those of a cache, which come first.
type grid struct {
	c                           *fixture.Case
	lead                        []int // of the output, before rows and features
	groups, queries, keys, past int
}

// gridOf says false where a case has no inputs that are known, as that of a module.
func gridOf(c *fixture.Case) (grid, bool) {
	in := c.Inputs
	if in.Query == nil || in.Key == nil || in.Value == nil {
		return grid{}, false
	}
	g := grid{c: c}
	if c.Op == fixture.SDPA {
		shape, dims := c.Output.Shape, len(c.Output.Shape)
		g.lead, g.queries = shape[:dims-2], shape[dims-2]
		g.keys = in.Key.Shape[len(in.Key.Shape)-2]
		g.groups = product(g.lead)
		return g, true
	}
	g.groups, g.queries = lengths(c.Layer.InputLayout, in.Query.Shape)
	_, g.keys = lengths(c.Layer.InputLayout, in.Key.Shape)
	if in.PastKey != nil {
		g.past = in.PastKey.Shape[2]
		g.keys += g.past
	}
	g.lead = []int{g.groups}
	return g, true
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// lengths are batch and length of an input of a layer.
func lengths(o attention.InputLayout, shape []int) (batch, length int) {
	switch o {
	case attention.Unbatched:
		return 1, shape[0]
	case attention.SequenceFirst:
		return shape[1], shape[0]
	}
	return shape[0], shape[1]
}

// row is that of query i of group n in an output.
func (g grid) row(out *attention.Tensor, n, i int) []float32 {
	return g.token(out, n, i, g.groups, g.queries)
}

// token is place t of group n in a tensor of so many groups and places.
func (g grid) token(x *attention.Tensor, n, t, groups, length int) []float32 {
	width := len(x.Data) / (groups * length)
	at := n*length + t
	if g.c.Op == fixture.MultiHead && g.c.Layer.InputLayout == attention.SequenceFirst {
		at = t*groups + n
	}
	return x.Data[at*width:][:width]
}

// negateKey turns the sign of key or value j of group n; j is no cached one.
func (g grid) negateKey(x *attention.Tensor, n, j int) {
	groups := g.groups
	if g.c.Op == fixture.SDPA {
		lead := x.Shape[:len(x.Shape)-2]
		groups, n = product(lead), sharedAt(lead, g.lead, n)
	}
	negate(g.token(x, n, j-g.past, groups, g.keys-g.past))
}

// sharedAt is where an array with these leading dimensions has what serves a place of the target: a
// dimension of 1 serves all, one that divides the target's serves so many neighbours.
func sharedAt(shape, target []int, place int) int {
	at, stride := 0, 1
	for back := 1; back <= len(shape); back++ {
		own, size := shape[len(shape)-back], target[len(target)-back]
		at += place % size * own / size * stride
		stride *= own
		place /= size
	}
	return at
}

func negate(values []float32) {
	for i := range values {
		values[i] = -values[i]
	}
}

// place is a query: group and row.
type place struct{ group, row int }

// key is a new key of a group to which most rows of that group stand as they should, and those rows. A
// row's own token, which is its query, too, does not count.
func (g grid) key(should func(n, i, j int) bool) (key int, rows []place) {
	own := g.c.Inputs.Query == g.c.Inputs.Key || g.c.Inputs.Query == g.c.Inputs.Value
	for n := range g.groups {
		for j := g.past; j < g.keys; j++ {
			var these []place
			for i := range g.queries {
				if should(n, i, j) && !(own && i == j-g.past) {
					these = append(these, place{n, i})
				}
			}
			if len(these) > len(rows) {
				key, rows = j, these
			}
		}
	}
	return key, rows
}

// label names a row: "row 3 of batch 1".
func (g grid) label(p place) string {
	if g.c.Op != fixture.SDPA {
		return fmt.Sprintf("row %d of batch %d", p.row, p.group)
	}
	index, n := make([]string, len(g.lead)), p.group
	for d := len(g.lead) - 1; d >= 0; d-- {
		index[d] = fmt.Sprint(n % g.lead[d])
		n /= g.lead[d]
	}
	return fmt.Sprintf("row %d of head [%s]", p.row, strings.Join(index, ", "))
}

// someRowSees says whether a query sees so many keys, those of a cache among them.
func (g grid) someRowSees(least int) bool {
	screens := g.screens()
	for n := range g.groups {
		for i := range g.queries {
			seen := 0
			for j := range g.keys {
				if !slices.ContainsFunc(screens, func(s screen) bool { return s.hides(n, i, j) }) {
					seen++
				}
			}
			if seen >= least {
				return true
			}
		}
	}
	return false
}
