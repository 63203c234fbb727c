package diagnose

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/difftest/difftest/harness/internal/num"
	"gonum.org/v1/gonum/mat"
)

// surplus is how many equations more than unknowns each fit needs, for each head and each output: with as many
// unknowns as equations everything is explained.
const surplus = 3

// surplus says why a fit would explain everything on this case, or is not a fit of the kind; "" where it
// can fail. share is how much of the noise of the output least squares leaves.
func (x *tangent) surplus(free freedom) (share float64, reason string) {
	l := x.p.Layer
	if reason := x.tooLarge(free); reason != "" {
		return 0, reason
	}
	switch {
	case len(free.maps) > 1:
		return x.productSurplus()
	case free.is(OutputMap):
		return x.outputSurplus(free)
	case free.is(ValueMap):
		return x.valueSurplus(free)
	case l.QueryNorm != nil || l.KeyNorm != nil:
		return 0, "queries and keys are normed: scores are not linear in their weights"
	}
	return x.scoreSurplus(free)
}

// tooLarge bounds the multiplications.
func (x *tangent) tooLarge(free freedom) string {
	const multiplications = 3e8
	l, work := x.p.Layer, 0.0
	rows := float64(len(x.weight))
	for _, m := range free.maps {
		linear := l.Projections()[m]
		n, each := float64(linear.In+1), 1.0
		if m != OutputMap {
			heads := float64(headsOf(l, m))
			e := float64(linear.Out) / heads
			each, n = heads, n*e
			if free.heads != nil {
				each = float64(len(free.heads))
			}
		}
		if free.bias {
			n = float64(linear.Out)
		}
		work += each * (n*n*n/6 + n*n*rows/2)
	}
	pass := rows * float64(l.Query.Out*l.Query.In+2*l.Output.Out*l.Output.In) // of an iteration, of which some tens are needed
	if work += 100 * pass; work > multiplications {
		return fmt.Sprintf("the case is too large: %.1g multiplications", work)
	}
	return ""
}

// distinct numbers the rows of the output that see a key in some head and differ in their contexts: rows that are
// alike say no more than one of them.
func (x *tangent) distinct() []int {
	var rows []int
	merged, width := x.merged(x.t.Context), x.p.Layer.Output.In
	known := map[string]bool{}
	for row, weight := range x.weight {
		context := merged[row*width:][:width]
		if weight == 0 || num.RMS(context) == 0 {
			continue
		}
		if key := digest(context); !known[key] {
			known[key] = true
			rows = append(rows, row)
		}
	}
	return rows
}

// digest writes numbers so that those which are equal but for rounding are written alike.
func digest(values []float64) string {
	var b strings.Builder
	for _, v := range values {
		b.WriteString(strconv.FormatFloat(v, 'e', 8, 64))
	}
	return b.String()
}

// rank is that of a matrix, its columns made of one size.
func rank(a *mat.Dense) int {
	rows, columns := a.Dims()
	for j := range columns {
		size := 0.0
		for i := range rows {
			size += a.At(i, j) * a.At(i, j)
		}
		for i := range rows {
			if size > 0 {
				a.Set(i, j, a.At(i, j)/math.Sqrt(size))
			}
		}
	}
	var svd mat.SVD
	if !svd.Factorize(a, mat.SVDNone) {
		return min(rows, columns)
	}
	n := 0
	for _, s := range svd.Values(nil) {
		if s > 1e-9*svd.Values(nil)[0] {
			n++
		}
	}
	return n
}

func (x *tangent) outputSurplus(free freedom) (float64, string) {
	rows, w := x.distinct(), x.p.Layer.Output
	columns := x.freeOf(0, 0, w.In+1)
	if len(columns) == 0 {
		return 0, "the layer has no such bias"
	}
	merged, design := x.merged(x.t.Context), mat.NewDense(max(1, len(rows)), len(columns), nil)
	for n, row := range rows {
		design.SetRow(n, chosen(merged[row*w.In:][:w.In], columns))
	}
	return enough(len(rows), rank(design), len(columns), "rows that see a key and differ")
}

// enough demands a surplus of equations over the rank of the unknowns.
func enough(equations, rank, unknown int, what string) (share float64, reason string) {
	if equations < rank+surplus {
		return 0, fmt.Sprintf("%d %s, and %d unknowns of rank %d: at least %d are needed", equations, what, unknown, rank, rank+surplus)
	}
	return float64(equations-rank) / float64(equations), ""
}

func (x *tangent) valueSurplus(free freedom) (share float64, reason string) {
	l, t := x.p.Layer, x.t
	e, share := l.Value.Out/l.KVHeads, 1.0
	unknown, rows := 0, x.distinct()
	for g := range l.KVHeads {
		columns := x.freeOf(0, g*e, l.Value.In+1)
		if len(columns) == 0 {
			continue
		}
		var design []float64
		known := map[string]bool{}
		for _, row := range rows {
			for h := g * t.Group; h < (g+1)*t.Group; h++ {
				mixed := x.mixed(row/t.Queries, h, row%t.Queries, columns)
				if key := digest(mixed); (free.bias || !known[key]) && num.RMS(mixed) > 0 {
					known[key] = true
					design = append(design, mixed...)
				}
			}
		}
		n := len(design) / len(columns)
		if n == 0 {
			return 0, "no row sees a key whose value could be another"
		}
		r := rank(mat.NewDense(n, len(columns), design))
		one, reason := enough(n, r, len(columns), fmt.Sprintf("different mixtures of values in head %d", g))
		if reason != "" {
			return 0, reason
		}
		share, unknown = min(share, one), unknown+r*e
	}
	if unknown == 0 {
		return 0, "the layer has no such bias"
	}
	all := len(rows) * x.outs
	if x.outs < l.Output.In && all*9 < unknown*10 { // heads that share features of the output are not told apart by rows alone
		return 0, fmt.Sprintf("%d elements that see a key and differ, and %d unknowns", all, unknown)
	}
	return min(share, math.Abs(1-float64(unknown)/float64(all))), ""
}

// productSurplus is that of value and output together.
func (x *tangent) productSurplus() (float64, string) {
	rows := x.distinct()
	design := x.products()
	_, columns := design.Dims()
	if len(rows) < columns+surplus {
		return 0, fmt.Sprintf("%d rows that see a key and differ, and %d unknowns: at least %d are needed", len(rows), columns, columns+surplus)
	}
	some := mat.NewDense(len(rows), columns, nil)
	for n, row := range rows {
		some.SetRow(n, design.RawRowView(row))
	}
	return enough(len(rows), rank(some), columns, "rows that see a key and differ")
}

// scoreSurplus is that of queries or keys: of each row of n keys, n-1 differences of scores count.
func (x *tangent) scoreSurplus(free freedom) (float64, string) {
	m, t := free.maps[0], x.t
	linear := x.p.Layer.Projections()[m]
	heads := headsOf(x.p.Layer, m)
	e, share := linear.Out/heads, 1.0
	equations := make([]int, heads)
	for _, row := range x.distinct() {
		for h := range x.heads {
			n, seen := row/t.Queries*x.heads+h, 0
			for _, w := range t.Weights[(n*t.Queries+row%t.Queries)*t.Keys:][:t.Keys] {
				if w != 0 {
					seen++
				}
			}
			equations[h*heads/x.heads] += max(0, seen-1)
		}
	}
	for h, n := range equations {
		unknown := e * len(x.freeOf(0, h*e, linear.In+1))
		if unknown == 0 {
			continue
		}
		one, reason := enough(n, unknown, unknown, fmt.Sprintf("differences of scores in head %d", h))
		if reason != "" {
			return 0, reason
		}
		share = min(share, one)
	}
	if share == 1 {
		return 0, "the layer has no such bias"
	}
	return share, ""
}
