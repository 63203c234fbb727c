package replay

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
)

// FindWeights looks for the weight of a linear layer whose other values give an output. FindWeights
// asks about layers behind which no row of the output depends on another row: the head, the last
// MLP, and the query and output projections of the last attention. Least squares finds two kinds of
// changes:
//
//   - Any change, if there are more rows than the layer has features. Rows that are equal in the
//     layer's input count once.
//   - A change of a few columns, each for one feature of the input. What such a column adds to the
//     rows is known up to one factor for each output feature, so that few rows prove it.
//
// A change of a few rows, or of low rank, proves nothing where there are fewer rows than features:
// the layer adds any numbers to an output feature then. A LayerNorm that keeps the mean, or a
// log_softmax in place of logits, also adds a multiple of one vector to every row.
func (m *Module) FindWeights(ctx context.Context, got []float64) ([]ValueMatch, Cut) {
	q := newValueSearch(ctx, m, got)
	if q == nil {
		return nil, ""
	}
	sites := q.weightSites()
	found := make([]*ValueMatch, len(sites))
	each(ctx, "other values of weights", len(sites), func(i int) { found[i] = q.weight(sites[i]) })
	if ctx.Err() != nil {
		return nil, "other values of weights were not all tried"
	}
	var all []ValueMatch
	for _, f := range slices.Backward(found) {
		if f != nil {
			all = append(all, *f)
		}
	}
	return all, ""
}

// weight returns the answer about one layer, nil if other values of its weight do not prove to give
// the output.
func (q *valueSearch) weight(s *weightSite) *ValueMatch {
	start := q.newWeightFit(s)
	if start == nil {
		return nil
	}
	for _, fit := range []func() *weightFit{
		start.ofFewColumns,
		func() *weightFit { return start.ofAll(false) },
		func() *weightFit { return start.ofAll(true) },
	} {
		if f := fit(); f != nil {
			if match := q.provedBy(f); match != nil {
				return match
			}
		}
	}
	return nil
}

// provedBy computes the output with the values found in their own noise. It returns nil if they do
// not give it, or if something else could have given the same values.
func (q *valueSearch) provedBy(f *weightFit) *ValueMatch {
	m, s := q.module, f.site
	weight, bias := f.found()
	const larger = 64
	if scaleOf(weight.Data) > larger*scaleOf(s.weight.Data) || s.mayBeOfOthers(weight) {
		return nil
	}
	g := m.view.Apply(s.to(weight, bias), []int{s.place}).Until(m.output)
	output := m.outputOfGraph(g)
	if output == nil {
		return nil
	}
	own := m.noiseOf(g, output)
	if own.tooSmall(q.got) {
		return nil
	}
	want, err := own.expected()
	if err != nil {
		return nil
	}
	c := compare.Outputs(want.Shape, q.got, want)
	enough := compare.Residual(q.got, m.Truth.Value) >= compare.MinMargin*c.Rel
	if !c.Explained() || !enough || c.RMSZ*f.inflation() > c.Limits.RMS || !f.proved() {
		return nil
	}
	keys := []string{s.key}
	if bias != nil {
		keys = append(keys, s.node.Operands[2].Name)
	}
	v := &ValueMatch{
		Keys: keys, Where: s.where, Changed: s.part(weight), Unknowns: f.unknowns(), Rows: len(q.wrong),
		Residual: c.Rel, MaxZ: c.MaxZ,
	}
	if !f.few {
		v.Equations = f.equations()
	}
	return v
}

// weightSite is a linear layer that stands alone before its part of the output: no row of the
// output depends on another row of the layer's.
type weightSite struct {
	node   graph.Node
	place  int
	key    string // of the weight
	where  string // path of the layer if other layers use the weight, else ""
	weight *graph.Tensor[float64]
	inner  bool                   // the weight is stored (in, out)
	input  *graph.Tensor[float64] // in rows
	output *graph.Tensor[float64]
	in     int
	out    int
	direct bool // the output of the layer is the module's

	free  string       // the name of a value that takes the place of the layer's
	graph *graph.Graph // with this value
}

// weightSites lists the layers that can be asked about, the last first.
func (q *valueSearch) weightSites() []*weightSite {
	const mixing = 3 // layers whose rows are mixed later: all layers before them are, too
	m := q.module
	var sites []*weightSite
	mixed, replays := 0, 0
	for place := m.last; place >= 0 && mixed < mixing; place-- {
		s := m.weightSite(place)
		if s == nil {
			continue
		}
		if !s.direct && (!m.affordable(replays+s.out) || !q.small(s)) {
			break
		}
		if !s.direct && !q.rowByRow(s) {
			mixed++
			continue
		}
		if !s.direct {
			replays += s.out
		}
		if q.small(s) {
			sites = append(sites, s)
		}
	}
	return sites
}

// small reports whether the equations about a layer fit in little memory and time.
func (q *valueSearch) small(s *weightSite) bool {
	const most, mostDirect = 1 << 20, 1 << 27
	if s.direct {
		return len(q.got)*s.in <= mostDirect
	}
	return len(q.got)*s.out <= most
}

// weightSite returns the linear layer at a place, nil if there is none with a weight of its own
// whose rows are those of the output.
func (m *Module) weightSite(place int) *weightSite {
	n := m.graph.Nodes[place]
	if n.Op != "linear" || n.Operands[0].Name == "" || !m.view.Parameter(n.Operands[1]) || !m.asksAbout(n) {
		return nil
	}
	s := &weightSite{
		node: n, place: place, key: n.Operands[1].Name, inner: n.Attributes.Weight == "in, out",
		weight: m.values[n.Operands[1].Name].Wide(), input: m.values[n.Operands[0].Name], output: m.values[n.Name],
	}
	s.in, s.out = num.Last(s.input.Shape), num.Last(s.output.Shape)
	rows := len(m.right.Data) / max(1, num.Last(m.right.Shape))
	if s.out == 0 || len(s.output.Data)/s.out != rows {
		return nil
	}
	if len(m.view.Users(s.key)) > 1 {
		s.where = n.Module
	}
	s.free = n.Name + "'"
	put := func(_ *graph.View, n graph.Node) []graph.Node { return []graph.Node{n.Pass(graph.Value(s.free))} }
	s.graph = m.view.Apply(put, []int{place}).Until(m.output)
	s.direct = !slices.ContainsFunc(s.graph.Nodes, func(n graph.Node) bool { return n.Op != "reshape" })
	return s
}

// to returns an edit that gives a layer another weight, and another bias unless it is nil.
func (s *weightSite) to(weight, bias *graph.Tensor[float64]) graph.Edit {
	return func(_ *graph.View, n graph.Node) []graph.Node {
		table := n.Table(1, weight)
		made := []graph.Node{table}
		n = n.Put(1, graph.Value(table.Name))
		if bias != nil {
			table = n.Table(2, bias)
			made = append(made, table)
			n = n.Put(2, graph.Value(table.Name))
		}
		return append(made, n)
	}
}

// at returns the place of an element in the layer's weight.
func (s *weightSite) at(out, in int) int {
	if s.inner {
		return in*s.out + out
	}
	return out*s.in + in
}

// rowByRow reports whether each row of the output depends on its own row of the layer's output
// alone. Any two rows differ in a bit of their numbers: the rows with the bit are moved, then those
// without it.
func (q *valueSearch) rowByRow(s *weightSite) bool {
	const part = 0.1
	rows := len(s.output.Data) / s.out
	right := q.with(s.graph, s.free, s.output)
	if right == nil {
		return false
	}
	move := part * scaleOf(s.output.Data)
	for bit := 1; bit < rows; bit *= 2 {
		for _, moved := range []int{bit, 0} {
			values := slices.Clone(s.output.Data)
			for i := range values {
				if row := i / s.out; row&bit == moved {
					values[i] += move * math.Sin(float64(i)) // in no direction that a norm ignores
				}
			}
			got := q.with(s.graph, s.free, &graph.Tensor[float64]{Shape: s.output.Shape, Data: values})
			if got == nil {
				return false
			}
			for row := range rows {
				at := row * q.width
				if row&bit != moved && !compare.Same(right[at:][:q.width], got[at:][:q.width]) {
					return false
				}
			}
		}
	}
	return true
}

// part says how much of a weight has other values, "" for most of it.
func (s *weightSite) part(weight *graph.Tensor[float64]) string {
	rows, columns := s.changed(weight)
	switch {
	case 2*len(columns) <= s.in && len(columns)*s.out <= len(rows)*s.in:
		return fmt.Sprintf("%d of its %d columns", len(columns), s.in)
	case 2*len(rows) <= s.out:
		return fmt.Sprintf("%d of its %d rows", len(rows), s.out)
	}
	return ""
}

// changed lists the output and the input features whose part of a weight differs from the right
// one.
func (s *weightSite) changed(weight *graph.Tensor[float64]) (rows, columns []int) {
	const noise = 1e-2 // of the largest change
	ofRow, ofColumn := make([]float64, s.out), make([]float64, s.in)
	for i := range s.out {
		for j := range s.in {
			d := weight.Data[s.at(i, j)] - s.weight.Data[s.at(i, j)]
			ofRow[i] += d * d
			ofColumn[j] += d * d
		}
	}
	large := func(sums []float64) (at []int) {
		for i, sum := range sums {
			if sum > noise*noise*slices.Max(sums) {
				at = append(at, i)
			}
		}
		return at
	}
	return large(ofRow), large(ofColumn)
}

// mayBeOfOthers reports whether a change of the weight is also one of what stands before or behind
// the layer: other factors or another order of its input's features, or other factors of its
// output's.
func (s *weightSite) mayBeOfOthers(weight *graph.Tensor[float64]) bool {
	rows, columns := s.changed(weight)
	row := func(t *graph.Tensor[float64], i int) []float64 {
		values := make([]float64, s.in)
		for j := range values {
			values[j] = t.Data[s.at(i, j)]
		}
		return values
	}
	column := func(t *graph.Tensor[float64], j int) []float64 {
		values := make([]float64, s.out)
		for i := range values {
			values[i] = t.Data[s.at(i, j)]
		}
		return values
	}
	scaled := func(is, was []float64) bool {
		const alike = 0.99
		d := after(is, [][]float64{was}, []float64{1})
		return math.Abs(num.Dot(d, was)) >= alike*math.Sqrt(num.Dot(d, d)*num.Dot(was, was))
	}
	factors := !slices.ContainsFunc(columns, func(j int) bool { return !scaled(column(weight, j), column(s.weight, j)) })
	order := !slices.ContainsFunc(columns, func(j int) bool {
		is, was := column(weight, j), column(s.weight, j)
		return !slices.ContainsFunc(columns, func(k int) bool { return isThis(is, was, column(s.weight, k)) })
	})
	behind := !s.direct && !slices.ContainsFunc(rows, func(i int) bool { return !scaled(row(weight, i), row(s.weight, i)) })
	return factors || order || behind
}

// isThis reports whether a part of a weight that was another one is now a third, up to the noise of
// a fit.
func isThis(is, was, other []float64) bool {
	const noise = 0.05 // of the change
	off, moved := after(is, [][]float64{other}, []float64{1}), after(is, [][]float64{was}, []float64{1})
	return num.RMS(off) <= noise*num.RMS(moved)
}
