package pattern

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// mask describes which keys are seen or lost against the mask; it returns nil if none is. A
// hidden key is seen if its weight is above 0 beyond doubt.
func (x *Pattern) mask(p *oracle.Problem, t oracle.Trace) []string {
	var seen []int
	lost := x.lost(t)
	rows := map[int]bool{}
	for at, w := range x.Recovered {
		if !t.Sees[at] && w > x.doubt(at) {
			seen = append(seen, at)
			rows[at/x.Keys] = true
		}
	}
	for _, at := range lost {
		rows[at/x.Keys] = true
	}
	var lines []string
	if len(seen) > 0 {
		lines = append(lines, x.describe(p, seen, "are seen that should be hidden"))
	}
	if len(lost) > 0 {
		lines = append(lines, x.describe(p, lost, "are not seen that should be"))
	}
	return append(lines, x.examples(t, rows)...)
}

// examples describes the first two rows among wrong ones in the head that differs most.
func (x *Pattern) examples(t oracle.Trace, rows map[int]bool) []string {
	const most = 2
	var lines []string
	for row := x.Shown * x.Queries; row < (x.Shown+1)*x.Queries && len(lines) < most; row++ {
		if !rows[row] {
			continue
		}
		weighed := x.keys(row, func(at int) bool { return x.Recovered[at] > x.doubt(at) })
		lines = append(lines, fmt.Sprintf("%s: query %d gives weight to keys %s, and should to %s",
			x.label(row/x.Queries), row%x.Queries, weighed, x.keys(row, func(at int) bool { return t.Sees[at] })))
	}
	return lines
}

// lost returns the weights that should show and are 0, sorted. One weight that is 0 within doubt
// may be a low score. A key counts as lost to a query if all heads of the batch element that
// should show it, two at least, have 0. There must be three such pairs of query and key.
func (x *Pattern) lost(t oracle.Trace) []int {
	const heads, pairs = 2, 3
	var all []int
	count, size := 0, x.Queries*x.Keys
	for b := range x.Heads / x.PerBatch {
		for i := range size {
			// For each head that should show the key: the index of its weight, or -1 if the
			// weight is not 0.
			var zero []int
			for h := range x.PerBatch {
				at := (b*x.PerBatch+h)*size + i
				switch {
				case !t.Sees[at] || x.Expected[at] <= 4*x.doubt(at):
				case math.Abs(x.Recovered[at]) <= x.doubt(at):
					zero = append(zero, at)
				default:
					zero = append(zero, -1)
				}
			}
			if len(zero) >= heads && !slices.Contains(zero, -1) {
				all = append(all, zero...)
				count++
			}
		}
	}
	if count < pairs {
		return nil
	}
	slices.Sort(all)
	return all
}

// describe writes which keys some weights belong to, and at which distances from the query.
func (x *Pattern) describe(p *oracle.Problem, weights []int, what string) string {
	var after, before, itself, padded int
	nearest, furthest := math.MaxInt, 0
	for _, at := range weights {
		if x.isPadded(p, at) {
			padded++
			continue
		}
		distance := at%x.Keys - at/x.Keys%x.Queries - p.FirstPosition(x.element(p, at))
		switch {
		case distance > 0:
			after++
		case distance < 0:
			before++
		default:
			itself++
		}
		distance = max(distance, -distance)
		nearest, furthest = min(nearest, distance), max(furthest, distance)
	}
	var words []string
	for _, kind := range []struct {
		n    int
		name string
	}{
		{after, "keys after the query"},
		{before, "keys before the query"},
		{itself, "the key of the query itself"},
		{padded, "padded keys"},
	} {
		if kind.n > 0 {
			words = append(words, kind.name)
		}
	}
	text := strings.Join(words, " and ") + " " + what
	if after+before == len(weights) && (after == 0 || before == 0) {
		text += ", at distances " + distances(nearest, furthest)
	}
	return fmt.Sprintf("%s (%d weights)", text, len(weights))
}

// isPadded reports whether a weight belongs to a padded key.
func (x *Pattern) isPadded(p *oracle.Problem, at int) bool {
	if p.Padding == nil {
		return false
	}
	key, keys := at%x.Keys, p.Padding.Shape[1]
	return key < keys && p.Padding.Data[x.element(p, at)*keys+key]
}

// element returns the batch element that a weight belongs to.
func (x *Pattern) element(p *oracle.Problem, at int) int {
	heads := x.PerBatch
	if p.Layer == nil {
		heads = p.Query.Shape[len(p.Query.Shape)-3]
	}
	return at / (x.Queries * x.Keys) / heads
}

// distances writes a range: "3", "3-4" or "3 to 8".
func distances(nearest, furthest int) string {
	switch furthest - nearest {
	case 0:
		return fmt.Sprint(nearest)
	case 1:
		return fmt.Sprintf("%d-%d", nearest, furthest)
	}
	return fmt.Sprintf("%d to %d", nearest, furthest)
}

// keys lists the keys of a row for which a condition holds.
func (x *Pattern) keys(row int, holds func(at int) bool) string {
	var list []int
	for j := range x.Keys {
		if holds(row*x.Keys + j) {
			list = append(list, j)
		}
	}
	if len(list) == 0 {
		return "none"
	}
	return num.Ranges(list)
}
