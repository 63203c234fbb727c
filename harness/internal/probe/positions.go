package probe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// positions locates the rows of a case's output and the tokens of its inputs. A group is a batch
// element of a layer; for a function it is an index into the dimensions before the last two. Keys
// of a cache come first and are counted.
type positions struct {
	c                           *fixture.Case
	lead                        []int // dimensions of the output before rows and features
	groups, queries, keys, past int
}

// positionsOf reports false if a case has no query, key and value, as the case of a module.
func positionsOf(c *fixture.Case) (positions, bool) {
	in := c.Inputs
	if in.Query == nil || in.Key == nil || in.Value == nil {
		return positions{}, false
	}
	at := positions{c: c}
	if c.Op == fixture.SDPA {
		shape, dims := c.Output.Shape, len(c.Output.Shape)
		at.lead, at.queries = shape[:dims-2], shape[dims-2]
		at.past = c.PastLength()
		at.keys = at.past + in.Key.Shape[len(in.Key.Shape)-2]
		at.groups = product(at.lead)
		return at, true
	}
	at.groups, at.queries = batchAndLength(c.Layer.InputLayout, in.Query.Shape)
	_, at.keys = batchAndLength(c.Layer.InputLayout, in.Key.Shape)
	at.past = c.PastLength()
	at.keys += at.past
	at.lead = []int{at.groups}
	return at, true
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// batchAndLength returns the batch size and the length of an input of a layer.
func batchAndLength(layout attention.InputLayout, shape []int) (batch, length int) {
	switch layout {
	case attention.Unbatched:
		return 1, shape[0]
	case attention.SequenceFirst:
		return shape[1], shape[0]
	}
	return shape[0], shape[1]
}

// place is the position of a query, and of its row in the output.
type place struct{ group, row int }

// row returns the features of one row of an output.
func (at positions) row(out *attention.Tensor, p place) []float32 {
	return at.token(out, p.group, p.row, at.groups, at.queries)
}

// token returns the features of token t of a group, in a tensor with the given groups and length.
func (at positions) token(x *attention.Tensor, group, t, groups, length int) []float32 {
	width := len(x.Data) / (groups * length)
	i := group*length + t
	if at.c.Op == fixture.MultiHead && at.c.Layer.InputLayout == attention.SequenceFirst {
		i = t*groups + group
	}
	return x.Data[i*width:][:width]
}

// negateKey changes the sign of key j of a group, or of its value. Key j is not in the cache.
func (at positions) negateKey(x *attention.Tensor, group, j int) {
	groups := at.groups
	if at.c.Op == fixture.SDPA {
		lead := x.Shape[:len(x.Shape)-2]
		groups, group = product(lead), broadcastIndex(lead, at.lead, group)
	}
	negate(at.token(x, group, j-at.past, groups, at.keys-at.past))
}

// broadcastIndex converts a flat index into target to the flat index into shape that serves it. A
// dimension of size 1 serves the whole dimension of target. A smaller dimension, as of grouped
// heads, serves several neighbours each.
func broadcastIndex(shape, target []int, index int) int {
	at, stride := 0, 1
	for back := 1; back <= len(shape); back++ {
		own, size := shape[len(shape)-back], target[len(target)-back]
		at += index % size * own / size * stride
		stride *= own
		index /= size
	}
	return at
}

// bestKey returns the key outside the cache for which the most rows of its group satisfy a
// condition, and those rows. A row whose own token is the key does not count, because changing the
// key changes the row's query as well.
func (at positions) bestKey(holds func(group, i, j int) bool) (key int, rows []place) {
	own := at.c.Inputs.Query == at.c.Inputs.Key || at.c.Inputs.Query == at.c.Inputs.Value
	for n := range at.groups {
		for j := at.past; j < at.keys; j++ {
			var these []place
			for i := range at.queries {
				if holds(n, i, j) && !(own && i == j-at.past) {
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
func (at positions) label(p place) string {
	if at.c.Op != fixture.SDPA {
		return fmt.Sprintf("row %d of batch %d", p.row, p.group)
	}
	index, n := make([]string, len(at.lead)), p.group
	for d := len(at.lead) - 1; d >= 0; d-- {
		index[d] = fmt.Sprint(n % at.lead[d])
		n /= at.lead[d]
	}
	return fmt.Sprintf("row %d of head [%s]", p.row, strings.Join(index, ", "))
}

// first returns the key at which query 0 of a group stands.
func (at positions) first(group int) int {
	if all := at.c.FirstPositions(); all != nil {
		return all[at.element(group)]
	}
	return at.c.FirstPosition()
}

// element returns the batch element that a group of a function (B, H) belongs to.
func (at positions) element(group int) int { return group * at.lead[0] / at.groups }

// someRowSees reports whether a query sees at least so many keys, cached ones included.
func (at positions) someRowSees(least int) bool {
	masks := at.masks()
	for n := range at.groups {
		for i := range at.queries {
			seen := 0
			for j := range at.keys {
				if !slices.ContainsFunc(masks, func(m mask) bool { return m.hides(n, i, j) }) {
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
