package replay

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
)

// weightFit is a change of a layer's weight that brings the output nearer to the subject's.
type weightFit struct {
	search *valueSearch
	site   *weightSite
	rows   []int      // of the output that are judged
	class  []int      // for each of these, which of the different rows of the layer's input it is
	input  *mat.Dense // of these rows; the last column is the bias's

	maps   *rowMaps
	off    [][]float64 // what the output lacks with the values found, in sigma, in each row
	before float64     // its size with the right values

	columns []int      // the features whose columns may change
	change  *mat.Dense // of each of these columns, for each output feature
	few     bool       // columns, so that each half of the rows must follow from the other half
}

// newWeightFit returns the fit that changes nothing, nil if the layer's output cannot be moved.
func (q *valueSearch) newWeightFit(s *weightSite) *weightFit {
	f := &weightFit{search: q, site: s}
	truth := q.module.Truth
	for row := range len(q.got) / q.width {
		if slices.ContainsFunc(truth.Sigma[row*q.width:][:q.width], func(x float64) bool { return x > 0 }) {
			f.rows = append(f.rows, row)
		}
	}
	if len(f.rows) == 0 {
		return nil
	}
	f.input = mat.NewDense(len(f.rows), s.in+1, nil)
	for n, row := range f.rows {
		f.input.SetRow(n, append(slices.Clone(s.input.Data[row*s.in:][:s.in]), 1))
	}
	f.class = f.classes()
	f.off = f.lacking()
	if f.off == nil || !f.linearise() {
		return nil
	}
	f.before = f.size()
	return f
}

// classes numbers the rows by their input. Rows that are nearly the same have one number.
func (f *weightFit) classes() []int {
	const same = 1e-3
	class := make([]int, len(f.rows))
	var first []int
	for n := range f.rows {
		row := f.input.RawRowView(n)
		is := slices.IndexFunc(first, func(other int) bool { return compare.Residual(f.input.RawRowView(other), row) <= same })
		if is < 0 {
			is, first = len(first), append(first, n)
		}
		class[n] = is
	}
	return class
}

// different counts the rows with different inputs, and those among them that are wrong.
func (f *weightFit) different() (rows, wrong int) {
	all, bad := map[int]bool{}, map[int]bool{}
	for n, row := range f.rows {
		all[f.class[n]] = true
		if slices.Contains(f.search.wrong, row) {
			bad[f.class[n]] = true
		}
	}
	return len(all), len(bad)
}

// lacking returns what the output lacks with the values found, nil if no program gives an output.
func (f *weightFit) lacking() [][]float64 { return f.lackingWith(f.output()) }

func (f *weightFit) lackingWith(output *graph.Tensor[float64]) [][]float64 {
	q := f.search
	off := q.short(q.with(f.site.graph, f.site.free, output))
	if off == nil {
		return nil
	}
	rows := make([][]float64, len(f.rows))
	for n, row := range f.rows {
		rows[n] = off[row*q.width:][:q.width]
	}
	return rows
}

// output returns the layer's output with the values found.
func (f *weightFit) output() *graph.Tensor[float64] {
	s := f.site
	values := slices.Clone(s.output.Data)
	for k, j := range f.columns {
		for row := range len(values) / s.out {
			x := 1.0
			if j < s.in {
				x = s.input.Data[row*s.in+j]
			}
			num.AddScaled(x, f.change.RawRowView(k), values[row*s.out:][:s.out])
		}
	}
	return &graph.Tensor[float64]{Shape: s.output.Shape, Data: values}
}

func (f *weightFit) size() float64 { return sizeOf(f.off) }

// sizeOf returns the sum of the squares of what rows lack.
func sizeOf(rows [][]float64) float64 {
	sum := 0.0
	for _, row := range rows {
		sum += num.Dot(row, row)
	}
	return sum
}

// rmsOf returns the root mean square of what rows lack.
func rmsOf(rows [][]float64) float64 {
	return math.Sqrt(sizeOf(rows) / float64(max(1, len(rows)*len(rows[0]))))
}

// linearise computes how each row moves with the layer's output.
func (f *weightFit) linearise() bool {
	const part = 1e-5
	q, s := f.search, f.site
	f.maps = &rowMaps{out: s.out, width: q.width}
	if s.direct {
		f.maps.factors = zeros(len(f.rows), s.out)
		for n, row := range f.rows {
			for i, sigma := range q.module.Truth.Sigma[row*q.width:][:q.width] {
				if sigma > 0 {
					f.maps.factors[n][i] = 1 / sigma
				}
			}
		}
		return f.maps.prepare()
	}
	right := f.output()
	move := part * scaleOf(right.Data)
	f.maps.slopes = zeros(len(f.rows), q.width*s.out)
	for k := range s.out {
		if q.ctx.Err() != nil {
			return false
		}
		values := slices.Clone(right.Data)
		for at := k; at < len(values); at += s.out {
			values[at] += move
		}
		off := f.lackingWith(&graph.Tensor[float64]{Shape: right.Shape, Data: values})
		if off == nil {
			return false
		}
		for n := range f.rows {
			for i := range q.width {
				f.maps.slopes[n][i*s.out+k] = (f.off[n][i] - off[n][i]) / move
			}
		}
	}
	return f.maps.prepare()
}

// ofColumns returns the fit that may change some columns, and has not changed them yet.
func (f *weightFit) ofColumns(columns []int, few bool) *weightFit {
	other := *f
	other.columns, other.few = slices.Clone(columns), few
	other.change = mat.NewDense(len(columns), f.site.out, nil)
	return &other
}

// ofAll returns the fit that changes every column, and the bias if it is asked about. It returns
// nil if there are too few different rows, or if the values found do not give the output.
func (f *weightFit) ofAll(withBias bool) *weightFit {
	const most, linear = 12, 0.6
	s, unknown := f.site, f.site.in
	if withBias {
		unknown++
	}
	if withBias && s.node.Operands[2].Absent {
		return nil
	}
	rows, _ := f.different()
	equations := f.equations()
	if spare := rows * (equations - unknown*s.out) / max(1, equations); !f.unlikely(spare, 0) {
		return nil
	}
	all := f.ofColumns(num.UpTo(unknown), false)
	basis, back := orthonormal(all.inputs())
	if basis == nil {
		return nil
	}
	// An error of another kind leaves about what the freedom of the rows leaves.
	chance := 1 - float64(unknown*s.out)/float64(equations)
	_, left := f.maps.solve(basis, f.off, nil, roughly)
	if sizeOf(left) > linear*chance*f.before || !all.descend(basis, back, most) {
		return nil
	}
	return all
}

// ofFewColumns returns the fit of the fewest columns that give the output, nil if there is none.
// Each column is the likeliest one to give what the columns before it leave.
func (f *weightFit) ofFewColumns() *weightFit {
	const most, steps, linear = 6, 6, 0.3
	_, wrong := f.different()
	var few *weightFit
	left := f.off
	for count := 1; count <= min(most, f.mostColumns()); count++ {
		if !f.unlikely(wrong-count, choices(f.site.in, count)) {
			return nil
		}
		var columns []int
		if few != nil {
			columns = few.columns
		}
		var best *weightFit
		var basis, back *mat.Dense
		bestLeft := left
		for _, j := range f.likeliest(columns, left) {
			one := f.ofColumns(append(slices.Clone(columns), j), true)
			span, turn := orthonormal(one.inputs())
			if _, rest := f.maps.solve(span, f.off, nil, f.accuracy()); best == nil || sizeOf(rest) < sizeOf(bestLeft) {
				best, basis, back, bestLeft = one, span, turn, rest
			}
		}
		if best == nil {
			return nil
		}
		few, left = best, bestLeft
		hopeful := sizeOf(left) <= linear*f.before
		if f.site.direct {
			hopeful = rmsOf(left) <= noisier*compare.MeasuredMaxRMSZ
		}
		if hopeful && few.descend(basis, back, steps) {
			return few
		}
	}
	return nil
}

// mostColumns returns how many columns may have other values at most, so that each half of the
// wrong rows can follow from all other rows. Other rows must say as much as the columns have
// elements.
func (f *weightFit) mostColumns() int {
	rows, wrong := f.different()
	return (rows - (wrong+1)/2) * f.equations() / (rows * f.maps.live)
}

// accuracy returns how far a first look at some columns solves for them. The output is linear in
// the weight of its own layer, so that the look is the answer.
func (f *weightFit) accuracy() float64 {
	if f.site.direct {
		return exactly
	}
	return roughly
}

// likeliest returns a few columns, beside some others, that may give most of what rows lack. A
// feature that is the same in every row is as good as a bias, and is none of them.
func (f *weightFit) likeliest(beside []int, lacking [][]float64) []int {
	const constant, few = 1e-2, 3
	gains := map[int]float64{}
	var columns []int
	gradient := f.maps.gradient(f.input, lacking, nil)
	scaled := f.maps.scaled(gradient)
	for j := range f.site.in {
		column := mat.Col(nil, j, f.input)
		size, sum := num.Dot(column, column), 0.0
		for _, x := range column {
			sum += x
		}
		varies := size-sum*sum/float64(len(column)) > constant*constant*size
		if varies && !slices.Contains(beside, j) {
			gains[j] = num.Dot(gradient.RawRowView(j), scaled.RawRowView(j)) / size
			columns = append(columns, j)
		}
	}
	slices.SortStableFunc(columns, func(a, b int) int { return cmp.Compare(gains[b], gains[a]) })
	return columns[:min(few, len(columns))]
}

// choices returns the logarithm of the number of ways to choose some of n.
func choices(n, some int) float64 {
	all, _ := math.Lgamma(float64(n + 1))
	a, _ := math.Lgamma(float64(some + 1))
	b, _ := math.Lgamma(float64(n - some + 1))
	return all - a - b
}

// unlikely reports whether chance does not give a fit: some rows beyond the unknown numbers, with
// an error much larger than the noise, all follow from the others. There are as many such fits as
// the logarithm says. Each row counts as one equation, since its elements may depend on each other.
func (f *weightFit) unlikely(rows int, choices float64) bool {
	const least, chance = 2, 1e-9
	times := math.Sqrt(f.before/float64(len(f.off)*f.search.width)) / (noisier * compare.MeasuredMaxRMSZ)
	return rows >= least && times > 1 && choices-float64(rows)*math.Log(times) < math.Log(chance)
}

// inputs returns the columns of the layer's input that may have other weights.
func (f *weightFit) inputs() *mat.Dense {
	columns := mat.NewDense(len(f.rows), len(f.columns), nil)
	for k, j := range f.columns {
		columns.SetCol(k, mat.Col(nil, j, f.input))
	}
	return columns
}

// descend takes steps until they do not help. It reports whether the output is then about as near
// as noise allows.
func (f *weightFit) descend(basis, back *mat.Dense, most int) bool {
	const enough, near = 0.7, compare.MeasuredMaxRMSZ
	for n := range most {
		before := f.size()
		if n > 0 && !f.linearise() {
			return false
		}
		weight, straight := f.maps.solve(basis, f.off, nil, finely)
		var step mat.Dense
		if step.Mul(back, weight); !f.move(&step) || f.size() > enough*before || f.fallsShort(straight) {
			break
		}
	}
	return rmsOf(f.off) <= noisier*near
}

// fallsShort reports whether a step shows that no values give the output: see
// [valueFit.fallsShort]. straight is what a linear output would lack after the step.
func (f *weightFit) fallsShort(straight [][]float64) bool {
	bend := 0.0
	for n, row := range straight {
		d := after(f.off[n], [][]float64{row}, []float64{1})
		bend += num.Dot(d, d)
	}
	left := sizeOf(straight)
	return bend < bends*left && left > farFrom*f.before && rmsOf(f.off) > noisier*compare.MeasuredMaxRMSZ
}

// move takes a step, or a part of it that comes nearer.
func (f *weightFit) move(step *mat.Dense) bool {
	const halvings = 5
	was, off := f.change, f.off
	part := 1.0
	for range halvings {
		f.change = mat.DenseCopyOf(was)
		num.AddScaled(part, step.RawMatrix().Data, f.change.RawMatrix().Data)
		if f.off = f.lacking(); f.off != nil && sizeOf(f.off) < sizeOf(off) {
			return true
		}
		part /= 2
	}
	f.change, f.off = was, off
	return false
}

// found returns the weight, and the bias unless it stays.
func (f *weightFit) found() (weight, bias *graph.Tensor[float64]) {
	s := f.site
	weight = &graph.Tensor[float64]{Shape: s.weight.Shape, Data: slices.Clone(s.weight.Data)}
	for k, j := range f.columns {
		if j == s.in {
			right := f.search.module.values[s.node.Operands[2].Name].Wide()
			bias = &graph.Tensor[float64]{Shape: right.Shape, Data: slices.Clone(right.Data)}
			num.AddScaled(1, f.change.RawRowView(k), bias.Data)
			continue
		}
		for i, d := range f.change.RawRowView(k) {
			weight.Data[s.at(i, j)] += d
		}
	}
	return weight, bias
}

func (f *weightFit) unknowns() int { return len(f.columns) * f.site.out }

// equations counts what the rows with different inputs say about the layer's output. Features that
// move a row alike, as where a smaller layer follows, give one equation.
func (f *weightFit) equations() int {
	const least = 1e-9 // of the largest direction
	rows, _ := f.different()
	if f.site.direct {
		return rows * f.site.out
	}
	var svd mat.SVD
	if !svd.Factorize(mat.NewDense(f.search.width, f.site.out, f.maps.slopes[len(f.rows)-1]), mat.SVDNone) {
		return 0
	}
	sizes := svd.Values(nil)
	rank := 0
	for rank < len(sizes) && sizes[rank] > least*sizes[0] {
		rank++
	}
	return rows * rank
}

// inflation returns how many times larger the noise is than what a fit with so many unknown numbers
// leaves of it.
func (f *weightFit) inflation() float64 {
	equations := float64(f.equations())
	return math.Sqrt(equations / max(1, equations-float64(f.unknowns())))
}

// proved reports whether each half of the wrong rows follows from all other rows. Equal rows are in
// one half. A change of all columns is proved by the number of its equations.
func (f *weightFit) proved() bool {
	if !f.few {
		return true
	}
	if !f.linearise() {
		return false
	}
	basis, _ := orthonormal(f.inputs())
	if basis == nil {
		return false
	}
	whole, _ := f.maps.along(f.inputs(), f.change, nil)
	for n, moved := range whole {
		num.AddScaled(1, f.off[n], moved)
	}
	half := f.halves()
	for held := range 2 {
		use := make([]bool, len(whole))
		for n := range use {
			use[n] = half[n] != held
		}
		times := noiseOfOthers(basis, use)
		if times == nil {
			return false
		}
		_, left := f.maps.solve(basis, whole, use, exactly)
		for n, used := range use {
			large := func(x float64) bool { return !(math.Abs(x) <= times[n]*compare.MeasuredMaxZ) }
			if !used && (!(num.RMS(left[n]) <= times[n]*compare.MeasuredMaxRMSZ) || slices.ContainsFunc(left[n], large)) {
				return false
			}
		}
	}
	return true
}

// noiseOfOthers returns for each row how many times its own noise a prediction from the rows in use
// is off, by the variance that least squares has for equal noise in all rows. It returns nil if the
// rows in use do not give a prediction.
func noiseOfOthers(basis *mat.Dense, use []bool) []float64 {
	const most = 1e6 // condition
	rows, rank := basis.Dims()
	products := mat.NewSymDense(rank, nil)
	for n := range rows {
		if use[n] {
			products.SymRankOne(products, 1, basis.RowView(n))
		}
	}
	var factors mat.Cholesky
	if !factors.Factorize(products) || factors.Cond() > most {
		return nil
	}
	times := make([]float64, rows)
	for n := range times {
		var solved mat.VecDense
		if factors.SolveVecTo(&solved, basis.RowView(n)) != nil {
			return nil
		}
		times[n] = math.Sqrt(1 + mat.Dot(basis.RowView(n), &solved))
	}
	return times
}

// halves divides the wrong rows into the halves 0 and 1. Right rows are in none, and have -1.
func (f *weightFit) halves() []int {
	half, of := make([]int, len(f.rows)), map[int]int{}
	for n, row := range f.rows {
		half[n] = -1
		if !slices.Contains(f.search.wrong, row) {
			continue
		}
		if _, known := of[f.class[n]]; !known {
			of[f.class[n]] = len(of) % 2
		}
		half[n] = of[f.class[n]]
	}
	return half
}
