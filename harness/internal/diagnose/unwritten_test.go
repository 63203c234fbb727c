package diagnose

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
)

// layered is the context of two batch elements, three heads, four rows and two features a head,
// with an output of five features. The output lacks a block of the context.
func layered(block zeros) contexts { return layeredTo(5, block) }

// layeredTo is the same with an output of other features.
func layeredTo(out int, block zeros) contexts {
	r := rand.New(rand.NewPCG(5, 6))
	random := func(n int) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = r.NormFloat64()
		}
		return v
	}
	c := contexts{
		size:   [4]int{2, 3, 4, 2},
		trace:  oracle.Trace{Context: random(48), ValueWidth: 2},
		output: oracle.Linear{In: 6, Out: out, Weight: random(6 * out)},
	}
	want := make([]float64, 8*out)
	add := func(to []float64, sign float64) func(at [4]int) {
		return func(at [4]int) {
			v := c.trace.Context[((at[0]*3+at[1])*4+at[2])*2+at[3]]
			for o := range out {
				to[(at[0]*4+at[2])*out+o] += sign * v * c.output.Weight[o*6+at[1]*2+at[3]]
			}
		}
	}
	block.size = c.size
	newZeros(c.size, all, all).each(add(want, 1))
	got := slices.Clone(want)
	block.each(add(got, -1))
	c.in = looked(1e-9, []int{2, 4, out}, want, got)
	return c
}

func all([4]int) bool { return true }

// The share of a head in an output row, and what a row lacks.
func TestContextOfALayer(t *testing.T) {
	c := contexts{
		size:   [4]int{1, 2, 2, 2},
		trace:  oracle.Trace{Context: []float64{1, 2, 3, 4, 5, 6, 7, 8}},
		output: oracle.Linear{In: 4, Out: 2, Weight: []float64{1, 0, 10, 0.5, 0, 1, 2, 3}},
	}
	require.InDelta(t, 7, c.value([4]int{0, 1, 1, 0}), 0)
	require.Equal(t, []float64{7*10 + 8*0.5, 7*2 + 8*3}, c.share(0, 1, 1))
	require.Equal(t, []float64{3, 4}, c.share(0, 0, 1))
	for shift, want := range map[float64]bool{2: false, 2.25: true} { // sixteen times the noise
		c.in = looked(0.125, []int{1, 2, 2}, []float64{1, 2, 3, 4}, []float64{1, 2, 3, 4 + shift})
		_, wrong := c.missing(0, 1)
		require.Equal(t, want, wrong)
	}
	c.in = looked(0.125, []int{1, 2, 2}, []float64{1, 2, 3, 4}, []float64{1, 2, 6, 4})
	_, wrong := c.missing(0, 1)
	require.True(t, wrong, "the first feature is enough")
	c.in = looked(1e-3, []int{1, 2, 2}, []float64{1, 2, 3, 4}, []float64{1, 2, 3, 4.5})
	off, wrong := c.missing(0, 1)
	require.Equal(t, []float64{0, -0.5}, off)
	require.True(t, wrong)
	_, wrong = c.missing(0, 0)
	require.False(t, wrong)
	c.in = looked(1e-3, []int{1, 2, 2}, []float64{1, 2, math.NaN(), 4}, []float64{1, 2, math.NaN(), 9})
	_, wrong = c.missing(0, 1)
	require.False(t, wrong, "a row without a number")
	require.InDeltaSlice(t, []float64{2, -1}, coefficients([][]float64{{1, 2, 0}, {0, 1, 3}}, []float64{2, 3, -3}), 1e-9)
	require.Equal(t, []float64{0, 0}, coefficients([][]float64{{0, 0}, {0, 0}}, []float64{1, 1}))
}

// Blocks of heads and rows, or of heads and features, are found from what the output lacks.
func TestBlocksOfTheContext(t *testing.T) {
	block := func(b, h, i, e []int) zeros { return zeros{at: [4][]int{b, h, i, e}} }
	for name, z := range map[string]zeros{
		"a head":                block(num.UpTo(2), []int{1}, num.UpTo(4), num.UpTo(2)),
		"two heads in two rows": block([]int{1}, []int{0, 2}, []int{2, 3}, num.UpTo(2)),
		"a row":                 block(num.UpTo(2), num.UpTo(3), []int{3}, num.UpTo(2)),
	} {
		c := layered(z)
		found := c.zeroRows()
		require.Equal(t, z.at, found.at, name)
		require.True(t, found.isPart())
		require.True(t, c.without(found).OK(), name)
		found.at[ofRow] = []int{0}
		require.False(t, c.without(found).OK(), name)
	}
	features := block(num.UpTo(2), []int{0, 1, 2}, num.UpTo(4), []int{1})
	c := layered(features)
	found := c.zeroFeatures()
	require.Equal(t, features.at, found.at)
	require.Equal(t, "feature 1 of every head is not written", found.unwritten().Title)
	require.True(t, c.without(found).OK())
	one := block(num.UpTo(2), []int{2}, num.UpTo(4), []int{0})
	require.Equal(t, one.at, layered(one).zeroFeatures().at)

	c.output.Out = 3
	require.False(t, c.zeroRows().isPart(), "as many heads as numbers in a row")
	wide := contexts{size: [4]int{1, 1, 1, 512}, output: oracle.Linear{In: 512, Out: 1, Weight: make([]float64, 512)}}
	wide.in = looked(1e-3, []int{1, 1, 1}, []float64{1}, []float64{1})
	require.Equal(t, wide.size, wide.zeroFeatures().size)
	wide.output.In = 513
	require.Equal(t, zeros{}, wide.zeroFeatures(), "too many equations")
	right := layered(zeros{})
	require.False(t, right.zeroRows().isPart())
	require.False(t, right.zeroFeatures().isPart())
}

// A head whose context is zero anyway belongs to a block of missing heads beside it.
func TestZerosThatNobodySees(t *testing.T) {
	block := zeros{at: [4][]int{num.UpTo(2), {1}, num.UpTo(4), num.UpTo(2)}}
	c := layered(block)
	for b := range 2 {
		at := (b*3+1)*8 + 2*2 // row 2 of head 1
		off := c.trace.Context[at:][:2]
		for o := range 5 {
			place := (b*4+2)*5 + o
			part := off[0]*c.output.Weight[o*6+2] + off[1]*c.output.Weight[o*6+3]
			c.in.truth.Value[place] -= part // without it the row is right
			c.in.comparison.Z[place] = 0
		}
		clear(off)
	}
	require.Equal(t, block.at, c.zeroRows().at)
}

// A feature that is zero in some rows anyway leaves them right. The other rows show
// that the feature is missing.
func TestFeaturesThatSomeRowsHave(t *testing.T) {
	block := zeros{at: [4][]int{num.UpTo(2), {2}, num.UpTo(4), {0}}}
	c := layered(block)
	for b := range 2 {
		at := (b*3 + 2) * 8 // row 0 of head 2
		for o := range 5 {
			place := b*20 + o
			c.in.truth.Value[place] -= c.trace.Context[at] * c.output.Weight[o*6+4]
			c.in.comparison.Z[place] = 0
		}
		c.trace.Context[at] = 0
	}
	found := c.zeroFeatures()
	require.Equal(t, block.at, found.at)
	require.True(t, c.without(found).OK())
}

// A block is the smallest one around the marks, and grows over blanks, one dimension after another.
func TestNewZeros(t *testing.T) {
	size := [4]int{2, 3, 4, 1}
	at := func(places ...[4]int) func([4]int) bool {
		return func(p [4]int) bool { return slices.Contains(places, p) }
	}
	none := func([4]int) bool { return false }
	z := newZeros(size, at([4]int{0, 1, 2, 0}, [4]int{1, 1, 0, 0}), none)
	require.Equal(t, [4][]int{{0, 1}, {1}, {0, 2}, {0}}, z.at)
	require.True(t, z.isPart())
	z = newZeros(size, at([4]int{0, 1, 2, 0}), at([4]int{0, 2, 2, 0}, [4]int{0, 1, 3, 0}))
	require.Equal(t, [4][]int{{0}, {1, 2}, {2}, {0}}, z.at, "row 3 of head 2 is not blank")
	z = newZeros(size, at([4]int{0, 1, 2, 0}), at([4]int{0, 1, 2, 0}, [4]int{0, 2, 2, 0}, [4]int{0, 1, 3, 0}, [4]int{0, 2, 3, 0}))
	require.Equal(t, [4][]int{{0}, {1, 2}, {2, 3}, {0}}, z.at)
	count := 0
	z.each(func([4]int) { count++ })
	require.Equal(t, 4, count)
	z = newZeros(size, at([4]int{0, 1, 2, 0}), at([4]int{0, 2, 2, 0}, [4]int{0, 2, 3, 0}))
	require.Equal(t, [4][]int{{0}, {1, 2}, {2}, {0}}, z.at, "row 3 of head 1 is not blank")
	require.False(t, newZeros(size, none, none).isPart())
	require.False(t, newZeros(size, all, all).isPart(), "the whole array")
}

// A block is named by its heads, features, rows and batch elements, in this order.
func TestNamesOfBlocks(t *testing.T) {
	for _, tc := range []struct {
		b, h, i, e []int
		id, title  string
	}{
		{num.UpTo(2), []int{1}, num.UpTo(4), num.UpTo(5), "heads-not-written", "head 1 is not written"},
		{num.UpTo(2), []int{0, 1}, num.UpTo(4), num.UpTo(5), "heads-not-written", "heads 0-1 are not written"},
		{
			num.UpTo(2), num.UpTo(3), num.UpTo(4), []int{3, 4},
			"features-not-written", "features 3-4 of an array are not written",
		},
		{[]int{0}, num.UpTo(3), []int{2}, num.UpTo(5), "rows-not-written", "row 2 in batch element 0 is not written"},
		{[]int{1}, num.UpTo(3), num.UpTo(4), num.UpTo(5), "batch-elements-not-written", "batch element 1 is not written"},
		{
			num.UpTo(2), []int{2}, []int{0, 1}, []int{4},
			"heads-not-written", "head 2 in feature 4 in rows 0-1 is not written",
		},
	} {
		z := zeros{size: [4]int{2, 3, 4, 5}, at: [4][]int{tc.b, tc.h, tc.i, tc.e}, what: "an array"}
		u := z.unwritten()
		require.Equal(t, []string{tc.id, tc.title}, []string{u.ID, u.Title})
		require.NotEmpty(t, u.Fix)
		a := z.answer("so it is", "more")
		require.Equal(t, []string{tc.title + ": so it is", "more"}, a.finding.reasons)
		require.Equal(t, Dead, a.finding.class)
		require.Equal(t, tc.id, a.finding.unwritten.ID)
	}
	require.Len(t, UnwrittenParts(), len(kinds))
	for i, u := range UnwrittenParts() {
		require.Equal(t, kinds[i].id, u.ID)
		require.Equal(t, kinds[i].many+" are not written", u.Title)
		require.Equal(t, kinds[i].fix, u.Fix)
	}
}

// A block of every row and batch element is as good as columns of zeros in the output weight.
func TestBlocksThatParametersGive(t *testing.T) {
	z := zeros{size: [4]int{2, 3, 4, 5}, at: [4][]int{num.UpTo(2), {1, 2}, num.UpTo(4), {3, 4}}}
	require.Equal(t, []string{"an output weight with zeros for its inputs 8-9, 13-14 would give the same"}, z.sameAs(5))
	z.at[ofRow] = []int{0, 1, 2}
	require.Empty(t, z.sameAs(5))
	z.at[ofRow], z.at[ofBatch] = num.UpTo(4), []int{1}
	require.Empty(t, z.sameAs(5))
}

// Zeros in the output itself are found. In the output of a function, a head may have zeros.
func TestZerosOfTheOutput(t *testing.T) {
	want := make([]float64, 2*3*2*2)
	for i := range want {
		want[i] = float64(i) + 1
	}
	got := slices.Clone(want)
	for _, b := range []int{0, 1} {
		clear(got[b*12+4:][:4])
	}
	in := looked(1e-6, []int{2, 3, 2, 2}, want, got)
	require.Equal(t, "head 1 is not written", zerosOfOutput(in).unwritten().Title)
	require.Equal(t, "head 1 is not written: the output is zero there, and right everywhere else",
		notWritten(t.Context(), in, fits()).finding.reasons[0])
	near := slices.Clone(want)
	near[0], got[0] = 0x1p-16, 0 // sixteen times the noise, which allows it
	require.Equal(t, "head 1 is not written", zerosOfOutput(looked(0x1p-20, []int{2, 3, 2, 2}, near, got)).unwritten().Title)
	got[0] = want[0]
	got[5] = 1e-30
	require.False(t, zerosOfOutput(looked(1e-6, []int{2, 3, 2, 2}, want, got)).isPart(), "not zero")

	got = slices.Clone(want)
	for i := 1; i < len(got); i += 2 {
		got[i] = 0
	}
	in = looked(1e-6, []int{2, 3, 2, 2}, want, got)
	require.Equal(t, "feature 1 of every head is not written", zerosOfOutput(in).unwritten().Title)
	in = looked(1e-6, []int{6, 2, 2}, want, got)
	in.problem.Layer = &oracle.Layer{}
	require.Equal(t, "feature 1 of the output is not written", zerosOfOutput(in).unwritten().Title)
	require.Equal(t, [4]int{6, 1, 2, 2}, zerosOfOutput(in).size)
	in = looked(1e-6, []int{6, 2, 2}, want, got)
	require.Equal(t, [4]int{1, 6, 2, 2}, zerosOfOutput(in).size, "a function of three dimensions")
	in = looked(1e-6, []int{12, 2}, want, got)
	require.Equal(t, [4]int{1, 1, 12, 2}, zerosOfOutput(in).size)
	require.Nil(t, notWritten(t.Context(), looked(1e-6, []int{12, 2}, want, want), fits()).finding)
}

// Features that are missing everywhere are told even where heads of a row cannot be told apart.
func TestFeaturesBesideManyHeads(t *testing.T) {
	c := layeredTo(3, zeros{at: [4][]int{num.UpTo(2), {2}, num.UpTo(4), {1}}})
	require.False(t, c.zeroRows().isPart())
	in, x := c.in, oracle.Array{Shape: []int{2, 4, 6}, Value: make([]float64, 48)}
	in.problem = &oracle.Problem{Query: x, Key: x, Layer: &oracle.Layer{Heads: 3, Output: c.output}}
	c.trace.Heads, c.trace.Queries = 6, 4
	in.trace = func() oracle.Trace { return c.trace }
	require.Contains(t, told(notWritten(t.Context(), in, fits()).finding), "head 2 in feature 1 is not written")
}

// Heads of a row cannot be told apart if the output has no more features than there are heads.
func TestTooFewFeaturesForTheHeads(t *testing.T) {
	for out, told := range map[int]bool{1: false, 2: false, 3: true} {
		values := []float64{1, 2}
		c := contexts{
			size: [4]int{1, 2, 1, 1}, trace: oracle.Trace{Context: values, ValueWidth: 1},
			output: oracle.Linear{In: 2, Out: out, Weight: []float64{1, 0, 0, 1, 1, 1}[:2*out]},
		}
		want := []float64{1, 2, 3}[:out]
		c.in = looked(1e-6, []int{1, 1, out}, want, []float64{1, 0, 1}[:out]) // without head 1
		z := c.zeroRows()
		require.Equal(t, told, z.isPart(), out)
		if told {
			require.Equal(t, []int{1}, z.at[ofHead])
		}
	}
}

// Normal equations are solved with a millionth of a millionth of their mean diagonal added;
// singular ones have no solution.
func TestSolvedEquations(t *testing.T) {
	gram := mat.NewSymDense(3, []float64{2, 0, 0, 0, 4, 0, 0, 0, 6})
	got := solved(gram, mat.NewVecDense(3, []float64{2, 4, 6}))
	for i, diagonal := range []float64{2, 4, 6} {
		require.InDelta(t, 1-4e-12/diagonal, got[i], 1e-13)
	}
	gram = mat.NewSymDense(2, []float64{5, 2, 2, 1})
	require.InDeltaSlice(t, []float64{3, -4}, solved(gram, mat.NewVecDense(2, []float64{7, 2})), 1e-9)
	require.Equal(t, []float64{0, 0}, solved(mat.NewSymDense(2, make([]float64, 4)), mat.NewVecDense(2, []float64{1, 1})))
}

// Nothing is called unwritten where nothing is wrong, or where numbers are not finite.
func TestWhenZerosAreAskedAbout(t *testing.T) {
	want := []float64{1, 2, 3, 4, 5, 6}
	in := looked(1e-3, []int{3, 2}, want, []float64{1, 2, 0, 0, 5, 6})
	require.Equal(t, "rows-not-written", notWritten(t.Context(), in, fits()).finding.unwritten.ID)
	in.comparison.NonFinite = 1
	require.Equal(t, answer{}, notWritten(t.Context(), in, fits()))
	none := looked(1e-3, []int{3, 2}, want, want)
	none.problem.Layer = &oracle.Layer{}
	none.trace = func() oracle.Trace {
		t.Error("nothing is wrong, and the layer is traced")
		return oracle.Trace{}
	}
	require.Equal(t, answer{}, notWritten(t.Context(), none, fits()))
}

// Zeros in the context of a layer account for an output that lacks a head, or a feature of every
// head. An error besides refutes them.
func TestPartsOfALayerThatAreNotWritten(t *testing.T) {
	p := oracletest.Tall(2)
	truth := p.Run().Expected()
	of := func(lacks func(head, feature int) bool, off float64) answer {
		wrong := p.Clone()
		wrong.Mix = func(x oracle.Field) oracle.Field {
			for i := range x.Value {
				if lacks(i/(x.Shape[2]*x.Shape[3])%x.Shape[1], i%x.Shape[3]) {
					x.Value[i] = 0
				}
			}
			return x
		}
		got := wrong.Run().Value
		got[0] += off
		in := failed(p, truth, got)
		in.structure, in.trace = newStructure(in.comparison, in.visible), p.Trace
		return notWritten(t.Context(), in, fits())
	}
	head := func(head, _ int) bool { return head == 1 }
	a := of(head, 0)
	require.Equal(t, Dead, a.finding.class)
	require.Equal(t, "heads-not-written", a.finding.unwritten.ID)
	require.Contains(t, told(a.finding), "head 1 is not written: the output is as with a context of zeros there")
	require.Contains(t, told(a.finding), "an output weight with zeros for its inputs 6-11 would give the same")
	require.Equal(t, answer{}, of(head, 0.01))
	a = of(func(_, feature int) bool { return feature == 2 }, 0)
	require.Equal(t, "features-not-written", a.finding.unwritten.ID)
	require.Contains(t, told(a.finding), "feature 2 of every head is not written")
	require.Equal(t, answer{}, of(func(_, _ int) bool { return false }, 0))
}
