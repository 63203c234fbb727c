package replay

import (
	"math"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
)

func all(int, int) bool { return true }

func column(j ...int) func(int, int) bool {
	return func(_, in int) bool { return slices.Contains(j, in) }
}

func row(i ...int) func(int, int) bool {
	return func(out, _ int) bool { return slices.Contains(i, out) }
}

// valueSearchOf returns the search for values that give an output.
func valueSearchOf(t *testing.T, m *Module, got []float64) *valueSearch {
	q := newValueSearch(t.Context(), m, got)
	require.NotNil(t, q)
	return q
}

// fitOf returns the fit of the layer of a node, which changes nothing yet.
func fitOf(t *testing.T, m *Module, place int, got []float64) *weightFit {
	q := valueSearchOf(t, m, got)
	s := m.weightSite(place)
	require.NotNil(t, s)
	f := q.newWeightFit(s)
	require.NotNil(t, f)
	return f
}

// A fit judges the rows with noise. Its input has a column for the bias, and each row's map says
// how the layer's output moves the output, in sigma.
func TestAFitBegins(t *testing.T) {
	m := perceptron(t, 9, 4, 3, 5)
	for i := range 5 {
		m.Truth.Sigma[2*5+i] = 0
	}
	m.Truth.Sigma[3*5] = 0
	got := changed(t, m, "up.weight", redrawn(4, all))
	f := fitOf(t, m, 0, got)
	assert.Equal(t, []int{0, 1, 3, 4, 5, 6, 7, 8}, f.rows)
	rows, columns := f.input.Dims()
	assert.Equal(t, []int{8, 5}, []int{rows, columns})
	assert.Equal(t, append(slices.Clone(m.values["x"].Data[3*4:4*4]), 1), f.input.RawRowView(2))
	assert.InDelta(t, f.size(), f.before, 0)
	for n, row := range f.rows {
		for i := range 5 {
			at := row*5 + i
			s := m.Truth.Sigma[at]
			if s == 0 {
				assert.Zero(t, f.off[n][i])
				continue
			}
			assert.InDelta(t, (got[at]-m.right.Data[at])/s, f.off[n][i], 1e-6)
			for k := range 3 {
				bent := m.values["bent"].Data[row*3+k]
				slope := (1 - bent*bent) * m.values["down.weight"].Wide().Data[i*3+k] / s
				assert.InDelta(t, slope, f.maps.slopes[n][i*3+k], 1e-4/s)
			}
		}
	}
	direct := fitOf(t, m, 2, got)
	for n, row := range direct.rows {
		for i, x := range direct.maps.factors[n] {
			if s := m.Truth.Sigma[row*5+i]; s > 0 {
				assert.InEpsilon(t, 1/s, x, 1e-12)
			} else {
				assert.Zero(t, x)
			}
		}
	}
}

// Without noise nothing is judged, and an output that no program gives fits nothing.
func TestFitsThatDoNotBegin(t *testing.T) {
	m := perceptron(t, 9, 4, 3, 5)
	got := changed(t, m, "up.weight", redrawn(4, all))
	q := valueSearchOf(t, m, got)
	s := m.weightSite(0)
	s.free = "another name"
	assert.Nil(t, q.newWeightFit(s))
	s = m.weightSite(2)
	s.free = "another name"
	assert.Nil(t, q.newWeightFit(s))
	q.ctx = ended(t)
	assert.Nil(t, q.newWeightFit(m.weightSite(0)))
	q.ctx = t.Context()
	clear(m.Truth.Sigma)
	assert.Nil(t, q.newWeightFit(m.weightSite(0)))
	l := newLayers(t)
	l.input("x", l.drawn(6, 4), 6, 4)
	l.linear("up", "x", 3, false)
	l.add("no", "mul", graph.Attributes{}, []int{6, 3}, graph.Value("up"), graph.Number(0))
	l.add("more", "add", graph.Attributes{}, []int{6, 3}, graph.Value("no"), graph.Number(1))
	m = l.module()
	m.Truth.Sigma = slices.Repeat([]float64{1e-6}, 18)
	got = slices.Repeat([]float64{2}, 18)
	q = valueSearchOf(t, m, got)
	assert.Nil(t, q.newWeightFit(m.weightSite(0)), "the layer moves nothing")
}

// Rows with nearly the same input count once.
func TestRowsWithTheSameInput(t *testing.T) {
	m := head(t, 8, 4, 3, false)
	got := changed(t, m, "head.weight", redrawn(4, all))
	x := m.values["x"].Data
	for j := range 4 {
		x[3*4+j] = x[j]
		x[5*4+j] = x[j] * 1.0005
		x[6*4+j] = x[1*4+j] * 1.0015
	}
	f := fitOf(t, m, 0, got)
	assert.Equal(t, []int{0, 1, 2, 0, 3, 0, 4, 5}, f.class)
	f.search.wrong = []int{0, 3, 4, 6}
	rows, wrong := f.different()
	assert.Equal(t, []int{6, 3}, []int{rows, wrong})
	assert.Equal(t, []int{0, -1, -1, 0, 1, -1, 0, -1}, f.halves())
	assert.Equal(t, 18, f.equations())
	// Four of six rows are left if half of the three is held back: each says as much as a column
	// has.
	assert.Equal(t, 4, f.mostColumns())
	f.search.wrong = []int{0, 1, 2, 3, 4, 5, 6, 7}
	assert.Equal(t, 3, f.mostColumns())
}

// Features that move a row alike give one equation.
func TestEquationsOfALayer(t *testing.T) {
	m := perceptron(t, 7, 4, 6, 2)
	f := fitOf(t, m, 0, changed(t, m, "up.weight", redrawn(4, all)))
	assert.Equal(t, 14, f.equations())
	assert.Equal(t, 6, f.maps.live)
	m = perceptron(t, 7, 4, 3, 5)
	f = fitOf(t, m, 0, changed(t, m, "up.weight", redrawn(4, all)))
	assert.Equal(t, 21, f.equations())
	f = f.ofColumns([]int{0, 3}, true)
	assert.Equal(t, 6, f.unknowns())
	assert.InDelta(t, math.Sqrt(21./15), f.inflation(), 1e-12)
	f = f.ofColumns(num.UpTo(7), true)
	assert.InDelta(t, math.Sqrt(21), f.inflation(), 1e-12, "no equation is left")
	for small, want := range map[float64]int{0.9e-9: 14, 1.1e-9: 21} {
		f.maps.slopes[6] = []float64{100, 0, 0, 0, 10, 0, 0, 0, 100 * small, 0, 0, 0, 0, 0, 0}
		assert.Equal(t, want, f.equations())
	}
	clear(f.maps.slopes[6])
	assert.Zero(t, f.equations())
}

// Some rows of an error that is much larger than the noise follow from others by chance with a
// probability of the noise over the error, for each row and each way to choose columns.
func TestUnlikelyFits(t *testing.T) {
	m := head(t, 4, 4, 3, false)
	f := fitOf(t, m, 0, changed(t, m, "head.weight", redrawn(4, all)))
	assert.InDelta(t, 0, choices(7, 0), 1e-12)
	assert.InDelta(t, math.Log(7), choices(7, 1), 1e-12)
	assert.InDelta(t, math.Log(35), choices(7, 3), 1e-12)
	assert.InDelta(t, 0, choices(7, 7), 1e-12)
	// times makes the error x times as large as three times the largest noise.
	times := func(x float64) { f.before = x * x * 36 * 12 }
	for _, tc := range []struct {
		times   float64
		rows    int
		choices float64
		want    bool
	}{
		{1e5, 2, 0, true}, {1e5, 1, 0, false}, {1e99, 1, 0, false}, {1e5, 2, math.Log(9), true}, {1e5, 2, math.Log(11), false},
		{999, 3, 0, false}, {1001, 3, 0, true}, {1.5, 60, 0, true}, {1.5, 50, 0, false}, {0.01, 900, -99, false}, {1, 900, -99, false},
	} {
		times(tc.times)
		assert.Equal(t, tc.want, f.unlikely(tc.rows, tc.choices), tc)
	}
}

// The likeliest columns give most of what rows lack, one by one. A feature that is the same in
// every row is none, and neither are columns that are taken already.
func TestLikeliestColumns(t *testing.T) {
	m := head(t, 9, 6, 4, true)
	x := m.values["x"].Data
	for n := range 9 {
		x[n*6+2] = 3
		x[n*6+4] = 100 + x[n*6+4]
	}
	got := slices.Clone(m.right.Data)
	for n := range 9 {
		for i := range 4 {
			got[n*4+i] += 5*x[n*6+1] + 2*x[n*6+5] + 3*x[n*6+2]
		}
	}
	f := fitOf(t, m, 0, got)
	likely := f.likeliest(nil, f.off)
	require.Len(t, likely, 3)
	assert.Equal(t, 1, likely[0])
	assert.NotContains(t, likely, 2)
	left := zeros(9, 4)
	for n := range left {
		for i, factor := range f.maps.factors[n] {
			left[n][i] = 2 * x[n*6+5] * factor
		}
	}
	likely = f.likeliest([]int{1, 3}, left)
	assert.NotContains(t, likely, 1)
	assert.NotContains(t, likely, 3)
	assert.Equal(t, 5, likely[0])
	assert.Empty(t, f.likeliest([]int{0, 1, 3, 4, 5}, f.off))
	assert.Len(t, f.likeliest([]int{0, 1, 3, 4}, f.off), 1)
	// A feature varies if its deviation is more than a hundredth of its size.
	for deviation, want := range map[float64]int{0.009: 0, 0.012: 1} {
		for n := range 9 {
			f.input.Set(n, 5, 1+deviation*float64(n%2*2-1))
		}
		assert.Len(t, f.likeliest([]int{0, 1, 3, 4}, f.off), want, deviation)
	}
	assert.Equal(t, exactly, f.accuracy())
	m = perceptron(t, 9, 4, 3, 5)
	assert.Equal(t, roughly, fitOf(t, m, 0, changed(t, m, "up.weight", redrawn(4, all))).accuracy())
}

// The fit of all columns has the weight and the bias that were planted.
func TestFitOfAllColumns(t *testing.T) {
	m := perceptron(t, 40, 4, 3, 5)
	for place, name := range map[int]string{0: "up", 2: "down"} {
		right := m.values[name+".weight"].Wide()
		width := right.Shape[1]
		change := func(values []float32) {
			for i := range values {
				values[i] += 0.3 * float32(math.Sin(float64(i)))
			}
		}
		got := changed(t, m, name+".weight", change)
		f := fitOf(t, m, place, got).ofAll(false)
		require.NotNil(t, f, name)
		weight, bias := f.found()
		assert.Nil(t, bias)
		for i, x := range weight.Data {
			assert.InDelta(t, right.Data[i]+0.3*math.Sin(float64(i)), x, 1e-4)
		}
		assert.Equal(t, num.UpTo(width), f.columns)
		assert.False(t, f.few)
		assert.LessOrEqual(t, rmsOf(f.off), 6.)
		start := fitOf(t, m, place, got)
		assert.InDelta(t, start.before, start.size(), 0, "the start stays")
		// With its bias.
		got = with(t, m, map[string]func([]float32){name + ".weight": change, name + ".bias": change})
		start = fitOf(t, m, place, got)
		assert.Nil(t, start.ofAll(false), "another bias is no weight")
		f = start.ofAll(true)
		require.NotNil(t, f)
		weight, bias = f.found()
		require.NotNil(t, bias)
		assert.Equal(t, width, f.columns[len(f.columns)-1])
		for i, x := range bias.Data {
			assert.InDelta(t, m.values[name+".bias"].Wide().Data[i]+0.3*math.Sin(float64(i)), x, 1e-4)
		}
		for i, x := range weight.Data {
			assert.InDelta(t, right.Data[i]+0.3*math.Sin(float64(i)), x, 1e-4)
		}
		for i, x := range f.output().Data {
			row, out := i/f.site.out, i%f.site.out
			want := bias.Data[out] + num.Dot(f.site.input.Data[row*width:][:width], weight.Data[out*width:][:width])
			assert.InDelta(t, want, x, 1e-9)
		}
	}
	m = head(t, 30, 4, 3, false)
	f := fitOf(t, m, 0, changed(t, m, "head.weight", redrawn(4, all)))
	assert.Nil(t, f.ofAll(true), "there is no bias")
	assert.NotNil(t, f.ofAll(false))
	// Six times the noise of the right output may be left.
	for sigmas, want := range map[float64]bool{4: true, 5.9: true, 8: false} {
		got := changed(t, m, "head.weight", redrawn(4, all))
		for i, s := range m.Truth.Sigma {
			got[i] += sigmas * s * math.Sqrt2 * math.Sin(float64(i*i)) / math.Sqrt(26./30)
		}
		assert.Equal(t, want, fitOf(t, m, 0, got).ofAll(false) != nil, sigmas)
	}
}

// Too few rows prove nothing about all columns.
func TestRowsThatAllColumnsNeed(t *testing.T) {
	for rows, want := range map[int]bool{6: false, 7: false, 9: true} {
		m := head(t, rows, 6, 5, true)
		got := changed(t, m, "head.weight", redrawn(6, all))
		assert.Equal(t, want, fitOf(t, m, 0, got).ofAll(false) != nil, rows)
	}
	// With the bias there is one unknown more.
	m := head(t, 8, 6, 5, true)
	got := with(t, m, map[string]func([]float32){"head.bias": redrawn(1, all), "head.weight": redrawn(6, all)})
	assert.Nil(t, fitOf(t, m, 0, got).ofAll(true))
	m = head(t, 9, 6, 5, true)
	got = with(t, m, map[string]func([]float32){"head.bias": redrawn(1, all), "head.weight": redrawn(6, all)})
	assert.NotNil(t, fitOf(t, m, 0, got).ofAll(true))
	// An error of another kind leaves what chance leaves.
	for i := range got {
		got[i] = m.right.Data[i] + math.Sin(float64(i*i))
	}
	assert.Nil(t, fitOf(t, m, 0, got).ofAll(false))
}

// The fewest columns that give the output are found, with their change.
func TestFitOfFewColumns(t *testing.T) {
	for _, tc := range []struct {
		m     *Module
		place int
		key   string
	}{{head(t, 10, 12, 5, true), 0, "head"}, {perceptron(t, 12, 12, 4, 6), 0, "up"}, {perceptron(t, 12, 5, 13, 6), 2, "down"}} {
		right := tc.m.values[tc.key+".weight"].Wide()
		width := right.Shape[1]
		for _, columns := range [][]int{{7}, {2, 7}} {
			got := changed(t, tc.m, tc.key+".weight", func(values []float32) {
				for i := range values {
					if slices.Contains(columns, i%width) {
						values[i] += 0.4 + 0.3*float32(math.Sin(float64(i)))
					}
				}
			})
			f := fitOf(t, tc.m, tc.place, got).ofFewColumns()
			require.NotNil(t, f, tc.key)
			assert.ElementsMatch(t, columns, f.columns)
			assert.True(t, f.few)
			assert.True(t, f.proved())
			weight, _ := f.found()
			for i, x := range weight.Data {
				want := right.Data[i]
				if slices.Contains(columns, i%width) {
					want += 0.4 + 0.3*math.Sin(float64(i))
				}
				assert.InDelta(t, want, x, 1e-3)
			}
			// A change that does not follow in the other half is no proof.
			f.off[f.search.wrong[0]] = slices.Clone(f.off[f.search.wrong[0]])
			f.off[f.search.wrong[0]][0] += 1e4
			assert.False(t, f.proved())
		}
		got := changed(t, tc.m, tc.key+".weight", redrawn(width, all))
		assert.Nil(t, fitOf(t, tc.m, tc.place, got).ofFewColumns())
	}
	f := &weightFit{}
	assert.True(t, f.proved(), "all columns are proved by the number of equations")
}

// A prediction from some rows is off by their noise and its own.
func TestNoiseOfAPrediction(t *testing.T) {
	basis := mat.NewDense(4, 1, []float64{0.5, 0.5, 0.5, 0.5})
	use := []bool{true, true, false, false}
	assert.InDeltaSlice(t, slices.Repeat([]float64{math.Sqrt(1.5)}, 4), noiseOfOthers(basis, use), 1e-12)
	assert.Nil(t, noiseOfOthers(basis, make([]bool, 4)))
	for size, want := range map[float64]bool{1.1e-3: true, 0.9e-3: false} {
		basis = mat.NewDense(3, 2, []float64{1, 0, 0, size, 1, 1})
		assert.Equal(t, want, noiseOfOthers(basis, []bool{true, true, false}) != nil, "the condition is the square")
	}
}

// A step that comes no nearer is halved, four times at most.
func TestAPartOfAStepOfAWeight(t *testing.T) {
	m := head(t, 6, 3, 2, false)
	got := changed(t, m, "head.weight", func(values []float32) { values[0]++ })
	f := fitOf(t, m, 0, got).ofColumns([]int{0}, true)
	for _, tc := range []struct{ step, end float64 }{{1, 1}, {1.9, 1.9}, {2.1, 1.05}, {30, 1.875}, {33, 0}} {
		g := *f
		moved := g.move(mat.NewDense(1, 2, []float64{tc.step, 0}))
		assert.Equal(t, tc.end != 0, moved)
		assert.InDelta(t, tc.end, g.change.At(0, 0), 1e-12, tc)
		assert.InDelta(t, f.before*(1-tc.end)*(1-tc.end), g.size(), 1e-3*f.before)
		if !moved {
			assert.Equal(t, f.off, g.off)
		}
	}
	g := *f
	assert.False(t, g.move(mat.NewDense(1, 2, []float64{math.NaN(), 0})), "no output")
	assert.Zero(t, f.change.At(0, 0))
}

// A step falls short where it leaves much, and leaves it straight.
func TestAWeightFallsShort(t *testing.T) {
	f := &weightFit{before: 4e6}
	straight := [][]float64{{500, -500}, {500, -500}}
	for _, tc := range []struct {
		off  [][]float64
		want bool
	}{
		{[][]float64{{510, -500}, {500, -490}}, true},
		{[][]float64{{810, -500}, {500, -500}}, true},
		{[][]float64{{820, -500}, {500, -500}}, false},
	} {
		f.off = tc.off
		assert.Equal(t, tc.want, f.fallsShort(straight), tc)
	}
	f.off = straight
	for before, want := range map[float64]bool{0.99e8: true, 1.01e8: false} {
		f.before = before
		assert.Equal(t, want, f.fallsShort(straight), "the rest is a hundredth")
	}
	for size, want := range map[float64]bool{5.9: false, 6.1: true} {
		f.off, f.before = [][]float64{{size, size}, {size, -size}}, 100
		assert.Equal(t, want, f.fallsShort(f.off), "noise")
	}
	f.before = 100
	straight = [][]float64{{6.1, 6.1}, {6.1, -6.1}}
	for bend, want := range map[float64]bool{14.5: true, 15: false} {
		f.off = [][]float64{{6.1 + math.Sqrt(bend), 6.1}, {6.1, -6.1}}
		assert.Equal(t, want, f.fallsShort(straight), "a tenth is a bend")
	}
	assert.InDelta(t, 3, rmsOf([][]float64{{3}}), 0)
	assert.InDelta(t, 25+144, sizeOf([][]float64{{3, 4}, {0, 12}}), 0)
	assert.InDelta(t, 6.5, rmsOf([][]float64{{3, 4}, {0, 12}}), 0)
}

// evenHead is a head whose features are 1 in all rows of a list and 0 elsewhere, with a noise of 1.
func evenHead(t *testing.T, rows, out int, features ...[]int) *Module {
	l := newLayers(t)
	values := make([]float32, rows*len(features))
	for j, list := range features {
		for _, n := range list {
			values[n*len(features)+j] = 1
		}
	}
	l.input("x", values, rows, len(features))
	l.linear("head", "x", out, false)
	m := l.module()
	m.Truth.Sigma = slices.Repeat([]float64{1}, rows*out)
	return m
}

// Each half of the wrong rows must follow from all other rows, in every element and on average, up
// to the noise of the prediction.
func TestAWeightIsProvedByHalves(t *testing.T) {
	const rows, out = 10, 4
	m := evenHead(t, rows, out, num.UpTo(rows), []int{1, 3, 5}, nil)
	got := slices.Clone(m.right.Data)
	for i := range got {
		got[i] += 1000
	}
	fit := func(off func(row, i int) float64, columns ...int) *weightFit {
		f := fitOf(t, m, 0, got).ofColumns(columns, true)
		f.class = num.UpTo(rows)
		f.search.wrong = []int{1, 2, 3, 4, 5, 6}
		f.off = zeros(rows, out)
		for n := range f.off {
			for i := range f.off[n] {
				f.off[n][i] = off(n, i)
			}
		}
		return f
	}
	// Seven rows predict three: the noise is 1.069 times as large.
	single := func(row int, size float64) func(n, i int) float64 {
		return func(n, i int) float64 {
			if n == row {
				return size * math.Pow(-1, float64(i))
			}
			return 0
		}
	}
	for _, tc := range []struct {
		name string
		off  func(row, i int) float64
		want bool
	}{
		{"nothing", single(-1, 0), true},
		{"an even row", single(4, 2.13), true}, {"an even row", single(4, 2.15), false},
		{"an odd row", single(5, 2.13), true}, {"an odd row", single(5, 2.15), false},
		{"the last wrong row", single(6, 2.15), false},
		{"a right row", single(9, 9), true},
		{"the same in all rows", func(int, int) float64 { return 50 }, true},
		{"halves that differ", func(row, _ int) float64 { return 50 * math.Pow(-1, float64(row)) }, false},
		{"what right rows lack", func(row, _ int) float64 {
			if 1 <= row && row <= 6 {
				return 50
			}
			return 0
		}, false},
	} {
		assert.Equal(t, tc.want, fit(tc.off, 0).proved(), tc.name)
	}
	f := fit(single(-1, 0), 0)
	f.change.Set(0, 2, 77)
	assert.True(t, f.proved(), "a change that every row has")
	assert.False(t, fit(single(-1, 0), 2).proved(), "a feature that is 0")
	assert.False(t, fit(single(-1, 0), 1).proved(), "a feature of one half alone")
	// In a wide row, an element may be 20 times the noise off.
	m = evenHead(t, rows, 400, num.UpTo(rows))
	got = slices.Repeat([]float64{1000}, rows*400)
	for size, want := range map[float64]bool{21.3: true, 21.5: false} {
		f := fitOf(t, m, 0, got).ofColumns([]int{0}, true)
		f.class, f.search.wrong, f.off = num.UpTo(rows), []int{1, 2, 3, 4, 5, 6}, zeros(rows, 400)
		f.off[4][7] = -size
		assert.Equal(t, want, f.proved(), size)
	}
	p := perceptron(t, 12, 5, 4, 6)
	f = fitOf(t, p, 0, changed(t, p, "up.weight", moved(5, column(2)))).ofColumns([]int{2}, true)
	f.search.ctx = ended(t)
	assert.False(t, f.proved())
}

// Six columns at most may have other values. Rows that are wrong must outnumber them by two.
func TestTheMostColumns(t *testing.T) {
	m := head(t, 30, 40, 5, false)
	six := []int{1, 5, 8, 13, 21, 34}
	f := fitOf(t, m, 0, changed(t, m, "head.weight", redrawn(40, column(six...)))).ofFewColumns()
	require.NotNil(t, f)
	assert.ElementsMatch(t, six, f.columns)
	seven := append(six, 35)
	assert.Nil(t, fitOf(t, m, 0, changed(t, m, "head.weight", redrawn(40, column(seven...)))).ofFewColumns())
	// Three columns, one of which each of four wrong rows has.
	m = evenHead(t, 12, 5, []int{0, 1}, []int{1, 2}, []int{0, 3}, []int{4, 5}, []int{6, 7, 8, 9, 10})
	x := m.values["x"].Data
	for i := range x {
		x[i] *= 1 + 0.1*float64(i)
	}
	m.Truth.Sigma = slices.Repeat([]float64{1e-6}, 60)
	got := slices.Clone(m.right.Data)
	for n := range 12 {
		for i := range 5 {
			got[n*5+i] += 2*x[n*5] - 3*x[n*5+1]*float64(i) + 5*x[n*5+2]
		}
	}
	assert.Nil(t, fitOf(t, m, 0, got).ofFewColumns())
	for n := range 12 {
		for i := range 5 {
			got[n*5+i] = m.right.Data[n*5+i] + 2*x[n*5+4]
		}
	}
	f = fitOf(t, m, 0, got).ofFewColumns()
	require.NotNil(t, f)
	assert.Equal(t, []int{4}, f.columns)
}

// countedLayers is a perceptron whose replays are counted.
func countedLayers(t *testing.T, rows, in, hidden, out int) (m *Module, calls *atomic.Int64) {
	m = perceptron(t, rows, in, hidden, out)
	calls = new(atomic.Int64)
	m.graph.Nodes[1].Computed = func(
		x []*graph.Tensor[float64], _ graph.Rounding,
	) (*graph.Tensor[float64], []float64, error) {
		calls.Add(1)
		y := &graph.Tensor[float64]{Shape: x[0].Shape}
		for _, v := range x[0].Data {
			y.Data = append(y.Data, math.Tanh(v))
		}
		return y, nil, nil
	}
	return m, calls
}

// A fit takes few replays, and none where a first look leaves what chance leaves.
func TestReplaysOfAFit(t *testing.T) {
	m, calls := countedLayers(t, 60, 5, 4, 6)
	got := changed(t, m, "up.weight", moved(5, all))
	f := fitOf(t, m, 0, got)
	calls.Store(0)
	require.NotNil(t, f.ofAll(false))
	assert.LessOrEqual(t, calls.Load(), int64(25))
	assert.Positive(t, calls.Load())
	for i := range got {
		got[i] = m.right.Data[i] + math.Sin(float64(i*i))
	}
	f = fitOf(t, m, 0, got)
	calls.Store(0)
	assert.Nil(t, f.ofAll(false))
	assert.Nil(t, f.ofAll(true))
	assert.Zero(t, calls.Load())
	m, calls = countedLayers(t, 14, 12, 4, 6)
	for n, most := range map[int]int{1: 40, 2: 40} {
		f = fitOf(t, m, 0, changed(t, m, "up.weight", moved(12, column([]int{3, 7}[:n]...))))
		calls.Store(0)
		require.NotNil(t, f.ofFewColumns())
		assert.LessOrEqual(t, calls.Load(), int64(most), n)
	}
}

// A large layer is moved by more, so that the move is not lost in its size.
func TestSlopesOfALargeLayer(t *testing.T) {
	l := newLayers(t)
	values := l.drawn(9, 4)
	for i := range values {
		values[i] *= 1e7
	}
	l.input("x", values, 9, 4)
	l.linear("up", "x", 3, false)
	l.add("y", "mul", graph.Attributes{}, []int{9, 3}, graph.Value("up"), graph.Number(1e-7))
	m := l.module()
	f := fitOf(t, m, 0, slices.Repeat([]float64{9}, 27))
	for n := range 9 {
		for i := range 3 {
			for k := range 3 {
				want := 0.
				if i == k {
					want = 1e-7 / m.Truth.Sigma[n*3+i]
				}
				assert.InDelta(t, want, f.maps.slopes[n][i*3+k], 1e-6, "%d %d %d", n, i, k)
			}
		}
	}
}

// Each step begins with new slopes, so that the second one squares what the first one left.
func TestSlopesOfEachStep(t *testing.T) {
	m := perceptron(t, 60, 5, 4, 6)
	f := fitOf(t, m, 0, changed(t, m, "up.weight", moved(5, all)))
	var left [2]float64
	for n := range left {
		steps := f.ofColumns(num.UpTo(5), false)
		basis, back := orthonormal(steps.inputs())
		steps.descend(basis, back, n+1)
		left[n] = steps.size() / f.size()
	}
	t.Log(left)
	assert.Less(t, left[1], left[0]*left[0])
}
