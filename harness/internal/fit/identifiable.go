package fit

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/num"
)

// surplus is how many more equations than unknowns a fit needs, for each head and each output. A
// fit with as many unknowns as equations explains every output.
const surplus = 3

// identifiable reports whether a fit of the free parameters can fail on this case. If not, the
// reason says why: the fit would explain every output, or is not linear, or takes too long. share
// is the part of the output's noise variance that least squares leaves.
func (x *jacobian) identifiable() (share float64, reason string) {
	l := x.p.Layer
	if reason := x.tooLarge(); reason != "" {
		return 0, reason
	}
	switch {
	case len(x.free.projections) > 1:
		return x.productIdentifiable()
	case x.free.is(OutputProjection):
		return x.outputIdentifiable()
	case x.free.is(ValueProjection):
		return x.valueIdentifiable()
	case l.QueryNorm != nil || l.KeyNorm != nil:
		return 0, "queries and keys are normed: scores are not linear in their weights"
	}
	return x.scoresIdentifiable()
}

// tooLarge says that a fit takes too many multiplications; "" if it does not.
func (x *jacobian) tooLarge() string {
	const most = 3e8
	if work := x.multiplications(); work > most {
		return fmt.Sprintf("the case is too large: %.1g multiplications", work)
	}
	return ""
}

// multiplications returns about how many multiplications a fit takes.
func (x *jacobian) multiplications() float64 {
	l, work := x.p.Layer, 0.0
	rows := float64(len(x.weight))
	for _, m := range x.free.projections {
		linear := l.Projections()[m]
		n, each := float64(linear.In+1), 1.0
		if x.free.bias {
			n = 1
		}
		if m != OutputProjection {
			heads := float64(headsOf(l, m))
			each, n = heads, n*float64(linear.Out)/heads
			if x.free.heads != nil {
				each = float64(len(x.free.heads))
			}
		}
		work += each * (n*n*n/6 + n*n*rows/2)
	}
	// The search takes some tens of iterations.
	iteration := rows * float64(l.Query.Out*l.Query.In+2*l.Output.Out*l.Output.In)
	return work + 100*iteration
}

// enough demands more equations than the rank of the unknowns.
func enough(equations, rank, unknowns int, what string) (share float64, reason string) {
	if equations < rank+surplus {
		return 0, fmt.Sprintf("%d %s, and %d unknowns of rank %d: at least %d are needed",
			equations, what, unknowns, rank, rank+surplus)
	}
	return float64(equations-rank) / float64(equations), ""
}

const noBias = "the layer has no such bias"

func (x *jacobian) outputIdentifiable() (share float64, reason string) {
	rows, w := x.distinctRows(), x.p.Layer.Output
	columns := x.freeOf(0, 0, w.In+1)
	if len(columns) == 0 {
		return 0, noBias
	}
	merged, design := x.merged(x.t.Context), mat.NewDense(max(1, len(rows)), len(columns), nil)
	for n, row := range rows {
		design.SetRow(n, chosen(merged[row*w.In:][:w.In], columns))
	}
	return enough(len(rows), rank(design), len(columns), "rows that see a key and differ")
}

func (x *jacobian) valueIdentifiable() (share float64, reason string) {
	l := x.p.Layer
	e, share := l.Value.Out/l.KVHeads, 1.0
	unknowns, rows := 0, x.distinctRows()
	for g := range l.KVHeads {
		columns := x.freeOf(0, g*e, l.Value.In+1)
		if len(columns) == 0 {
			continue
		}
		design := x.mixtures(g, rows, columns)
		if len(design) == 0 {
			return 0, "no row sees a key whose value could be another"
		}
		n := len(design) / len(columns)
		r := rank(mat.NewDense(n, len(columns), design))
		one, reason := enough(n, r, len(columns), fmt.Sprintf("different mixtures of values in head %d", g))
		if reason != "" {
			return 0, reason
		}
		share, unknowns = min(share, one), unknowns+r*e
	}
	if unknowns == 0 {
		return 0, noBias
	}
	all := len(rows) * x.outs
	// Heads that share features of the output need more equations than rows alone show.
	if x.outs < l.Output.In && all*9 < unknowns*10 {
		return 0, fmt.Sprintf("%d elements that see a key and differ, and %d unknowns", all, unknowns)
	}
	return min(share, math.Abs(1-float64(unknowns)/float64(all))), ""
}

// mixtures returns the different mixtures of value inputs that rows see through a value head, one
// after the other. Mixtures for a bias are all the same, and each of them counts.
func (x *jacobian) mixtures(kvHead int, rows, columns []int) []float64 {
	var design []float64
	known := map[string]bool{}
	for _, row := range rows {
		for h := kvHead * x.t.Group; h < (kvHead+1)*x.t.Group; h++ {
			mixed := x.mixed(row/x.t.Queries, h, row%x.t.Queries, columns)
			if key := digest(mixed); (x.free.bias || !known[key]) && num.RMS(mixed) > 0 {
				known[key] = true
				design = append(design, mixed...)
			}
		}
	}
	return design
}

// productIdentifiable is about value and output together.
func (x *jacobian) productIdentifiable() (share float64, reason string) {
	rows := x.distinctRows()
	design := x.productDesign()
	_, columns := design.Dims()
	if len(rows) < columns+surplus {
		return 0, fmt.Sprintf("%d rows that see a key and differ, and %d unknowns: at least %d are needed",
			len(rows), columns, columns+surplus)
	}
	some := mat.NewDense(len(rows), columns, nil)
	for n, row := range rows {
		some.SetRow(n, design.RawRowView(row))
	}
	return enough(len(rows), rank(some), columns, "rows that see a key and differ")
}

// scoresIdentifiable is about queries or keys. A row of n keys has n-1 equations, the differences
// of its scores.
func (x *jacobian) scoresIdentifiable() (share float64, reason string) {
	m, t := x.free.projections[0], x.t
	linear := x.p.Layer.Projections()[m]
	heads := headsOf(x.p.Layer, m)
	e, share := linear.Out/heads, 1.0
	equations := make([]int, heads)
	for _, row := range x.distinctRows() {
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
		unknowns := e * len(x.freeOf(0, h*e, linear.In+1))
		if unknowns == 0 {
			continue
		}
		one, reason := enough(n, unknowns, unknowns, fmt.Sprintf("differences of scores in head %d", h))
		if reason != "" {
			return 0, reason
		}
		share = min(share, one)
	}
	if share == 1 {
		return 0, noBias
	}
	return share, ""
}

// distinctRows lists the output rows that see a key in some head and have different contexts.
// Rows with the same context say no more than one of them.
func (x *jacobian) distinctRows() []int {
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

// digest writes numbers with nine digits, so that numbers equal but for rounding are written
// alike.
func digest(values []float64) string {
	var b strings.Builder
	for _, v := range values {
		b.WriteString(strconv.FormatFloat(v, 'e', 8, 64))
	}
	return b.String()
}

// rank returns the rank of a matrix, and scales the matrix's columns to one size.
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
