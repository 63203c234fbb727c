package diagnose

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/pattern"
	"github.com/difftest/difftest/harness/internal/progress"
	"github.com/difftest/difftest/harness/internal/replay"
)

// diagnosed diagnoses an output of a problem, with the oracle's result for a truth.
func diagnosed(p *oracle.Problem, got []float64) Diagnosis {
	truth := p.Run().Expected()
	return NewReference(p, truth).Diagnose(context.Background(), got, compare.Outputs(truth.Shape, got, truth))
}

// changed diagnoses the right output after a change.
func changed(p *oracle.Problem, change func(y []float64)) Diagnosis {
	got := p.Run().Value
	change(got)
	return diagnosed(p, got)
}

// planted returns the output of a problem with mistakes.
func planted(t *testing.T, p *oracle.Problem, ids ...string) []float64 {
	t.Helper()
	wrong := p.Clone()
	for _, id := range ids {
		m, ok := catalogue.ByID(id)
		require.True(t, ok, id)
		require.True(t, m.Plant(wrong, nil), id)
	}
	return wrong.Run().Value
}

func TestRightOutputNeedsNoDiagnosis(t *testing.T) {
	require.Empty(t, cmp.Diff(changed(oracletest.Padded(), func([]float64) {}), Diagnosis{Class: Right}))
}

func TestOtherShape(t *testing.T) {
	p := oracletest.Padded()
	truth := p.Run().Expected()
	right, half := truth.Value, slices.Clone(truth.Value)
	for i := range half {
		half[i] /= 2
	}
	for _, tc := range []struct {
		shape   []int
		got     []float64
		class   Class
		reasons []string
	}{
		{[]int{2, 3, 2}, right[:12], Unclear, []string{
			"the output has shape (2, 3, 2), want (2, 3, 4): no number was compared",
		}},
		{[]int{3, 2, 4}, half, Unclear, []string{
			"the output has shape (3, 2, 4), want (2, 3, 4): no number was compared",
			"it has as many elements, but no order of axes, heads or rows makes it right",
		}},
		{[]int{3, 2, 4}, right, WrongLayout, []string{
			"the output has shape (3, 2, 4), want (2, 3, 4)",
			"every expected value is there: output.reshape(2, 3, 4) is the expected output",
			"residual 0 (max z 0)",
		}},
	} {
		d := NewReference(p, truth).Diagnose(t.Context(), tc.got, compare.Outputs(tc.shape, tc.got, truth))
		require.Equal(t, tc.class, d.Class)
		require.Equal(t, tc.reasons, d.Reasons)
		require.Equal(t, tc.class == Unclear, d.Unexplained)
		require.Nil(t, d.Structure.Wrong)
		require.Empty(t, d.Bands)
	}
}

// Axes are named in the case's own order of dimensions, whatever the oracle's is.
func TestOrdersFollowTheLayout(t *testing.T) {
	p := oracletest.Padded()
	truth := p.Run().Expected() // (B, T, D)
	r := NewReference(p, truth).WithLayout(attention.SequenceFirst)
	want := []int{3, 2, 4}
	own := oracle.FromBatchFirst(attention.SequenceFirst, oracle.Array{Shape: truth.Shape, Value: truth.Value})

	c := compare.Comparison{GotShape: []int{1, 3, 2, 4}, WantShape: want}
	require.Contains(t, r.Diagnose(t.Context(), own.Value, c).Reasons[1], "output.reshape(3, 2, 4) is the expected")

	got := slices.Clone(truth.Value)
	for row := range 2 {
		slices.Reverse(got[row*12:][:12]) // features and rows
	}
	for row := range 6 {
		slices.Reverse(got[row*4:][:4])
	}
	d := r.Diagnose(t.Context(), got, compare.Outputs(truth.Shape, got, truth))
	require.Equal(t, WrongLayout, d.Class)
	require.Contains(t, d.Reasons[0], "positions of the output reversed")
	batches := slices.Concat(truth.Value[12:], truth.Value[:12])
	d = r.Diagnose(t.Context(), batches, compare.Outputs(truth.Shape, batches, truth))
	require.Contains(t, d.Reasons[0], "output.flip(1) is the expected output")
}

// The output of each mistake is explained by this mistake and by the mistakes with the same
// output. Two mistakes give constant outputs, which have other causes too.
func TestEveryMistakeIsItsOwnExplanation(t *testing.T) {
	campaign.SkipShort(t)
	p := oracletest.Padded()
	reference := NewReference(p, p.Run().Expected())
	visibility := reference.Visibility()
	class := visibility.Class()
	var dead []string
	named := 0
	for i, m := range catalogue.Mistakes {
		if class[i] < 0 || !m.Replayable() {
			continue
		}
		d := diagnosed(p, planted(t, p, m.ID))
		if d.Class == Dead {
			dead = append(dead, m.ID)
			continue
		}
		var ids, alike []string
		for _, match := range d.Matches {
			require.Greater(t, match.Margin, 5.0)
			if variant := match.Mistakes[0]; variant.VariantOf != "" {
				require.LessOrEqual(t, compare.Residual(planted(t, p, variant.ID), planted(t, p, m.ID)), 1e-6)
				continue
			}
			ids = append(ids, match.ID())
		}
		for j, other := range catalogue.Mistakes {
			if class[j] == class[i] {
				alike = append(alike, other.ID)
			}
		}
		require.Equal(t, alike, ids)
		named++
	}
	require.Greater(t, named, 10)
	require.Equal(t, []string{"weights-zero", "output-weight-zero"}, dead)
}

// Two mistakes at once are found where none alone explains the output.
func TestPairs(t *testing.T) {
	p := oracletest.Padded()
	d := diagnosed(p, planted(t, p, "causal-missing", "padding-ignored"))
	require.Len(t, d.Matches, 1)
	require.Equal(t, "causal-missing+padding-ignored", d.Matches[0].ID())
	require.Equal(t, MissingFeature, d.Class)
	require.Contains(t, d.Reasons[0], "computed with the causal mask missing, and the padding mask ignored")
	require.False(t, d.Unexplained)
}

// A named mistake that moves numbers and changes none is a wrong layout. A mask that is missing as
// well makes the class unclear.
func TestLayoutMistakesHaveTheirClass(t *testing.T) {
	campaign.SkipShort(t)
	p := oracletest.Committed(t, "mha/causal")
	for _, tc := range []struct {
		ids   []string
		class Class
	}{
		{[]string{"heads-strided"}, WrongLayout},
		{[]string{"heads-merge-reversed"}, WrongLayout},
		{[]string{"inputs-column-major"}, WrongLayout},
		{[]string{"fused-read-per-head"}, WrongLayout},
		{[]string{"query-weight-transposed"}, WrongWeights},
		{[]string{"heads-merge-strided", "causal-missing"}, Unclear},
	} {
		d := diagnosed(p, oracletest.InFloat32(oracle.Field{Value: planted(t, p, tc.ids...)}))
		require.Len(t, d.Matches, 1, tc.ids)
		require.ElementsMatch(t, tc.ids, d.Matches[0].IDs())
		require.Equal(t, tc.class, d.Class)
		require.False(t, d.Unexplained)
	}
}

// A rotation by tables has neither parameters nor scores: no step asks for them, whatever the
// output holds.
func TestDiagnosisOfARotation(t *testing.T) {
	p := oracletest.Committed(t, "rotary/half")
	right := p.Run()
	d := diagnosed(p, planted(t, p, "rope-backwards"))
	require.Len(t, d.Matches, 1, d.Reasons)
	require.Equal(t, "rope-backwards", d.Matches[0].ID())
	for name, tc := range map[string]struct {
		value float64 // of the first element
		class Class
		says  string
	}{
		"NaN":     {math.NaN(), NonFinite, "1 of"},
		"another": {right.Value[0] + 1, Unclear, "no known mistake gives this output"},
	} {
		d := changed(p, func(y []float64) { y[0] = tc.value })
		require.Equal(t, tc.class, d.Class, name)
		require.Contains(t, d.Reasons[0], tc.says, name)
		require.Len(t, d.Reasons, 1, name)
		require.Nil(t, d.Pattern)
		require.Empty(t, d.Fits)
	}
}

// An output that nothing explains is told with what was tried in vain, and with what the attention
// weights show. A class that says why, a mistake, a fit that holds, and an interruption need none.
func TestNotesOfAnUnexplainedOutput(t *testing.T) {
	in := &input{recovery: pattern.Recovery{Pattern: &pattern.Pattern{Findings: []string{"one key for all"}}}}
	of := func(change func(c *conclusion)) Diagnosis {
		c := conclusion{
			finding: *findingf(Unclear, "nothing fits"), notes: []string{"7 pairs were tried"},
			fits: fit.Result{Head: "no head alone", Fits: []fit.Fit{{Freed: "W_Q"}}},
		}
		change(&c)
		return newDiagnosis(in, c)
	}
	all := []string{"nothing fits", "no head alone", "7 pairs were tried", "recovered attention weights: one key for all"}
	d := of(func(*conclusion) {})
	require.True(t, d.Unexplained)
	require.Equal(t, all, d.Reasons)
	require.Equal(t, all, of(func(c *conclusion) { c.class = MissingFeature }).Reasons, "the class does not say which")
	require.Equal(t, append(all[:1:1], all[2:]...), of(func(c *conclusion) { c.fits.Head = "" }).Reasons)
	for name, change := range map[string]func(c *conclusion){
		"a class":      func(c *conclusion) { c.class = WrongNumber },
		"a mistake":    func(c *conclusion) { c.matches = []replay.Match{{}} },
		"a fit":        func(c *conclusion) { c.fits.Fits = append(c.fits.Fits, fit.Fit{Holds: true}) },
		"interruption": func(c *conclusion) { c.interrupted = true },
	} {
		d := of(change)
		require.False(t, d.Unexplained, name)
		require.Equal(t, []string{"nothing fits"}, d.Reasons, name)
	}
}

// Noise beyond the limit that is nowhere beyond it by itself: no element is wrong, and nothing
// explains the output.
func TestTooMuchNoise(t *testing.T) {
	p := oracletest.Padded()
	sigma := p.Run().Sigma()
	d := changed(p, func(y []float64) {
		for i := range y {
			y[i] += 3 * sigma[i] * float64(1-2*(i%2))
		}
	})
	require.NotEqual(t, Right, d.Class)
	require.Empty(t, d.Matches)
	require.Empty(t, d.Structure.WrongBatches)
}

// An output that equals a mistake's in every row of a sample, and in another row does not, is
// unexplained.
func TestASampleDoesNotExplain(t *testing.T) {
	campaign.SkipShort(t)
	p := oracletest.Wide()
	reference := NewReference(p, p.Run().Expected())
	missing := p.Clone()
	missing.Causal = nil
	wrong := oracletest.InFloat32(missing.Run())
	// These rows are in no sample. Row 2000 sees many keys, and differs little.
	rows := []int{2000}
	if campaign.Full() {
		rows = append(rows, 7, 500)
	}
	for _, row := range rows {
		got := slices.Clone(wrong)
		got[row*8+1] += 1e-4
		truth := reference.mistakes.Truth
		d := reference.Diagnose(t.Context(), got, compare.Outputs(truth.Shape, got, truth))
		require.Empty(t, d.Matches, "row %d", row)
		require.True(t, d.Unexplained)
	}
}

func TestInterruptedDiagnosis(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 9))
	values := func() oracle.Array {
		a := oracle.Array{Shape: []int{2, 2, 6, 4}, Value: make([]float64, 96)}
		for i := range a.Value {
			a.Value[i] = random.NormFloat64()
		}
		return a
	}
	p := &oracle.Problem{
		Query: values(), Key: values(), Value: values(),
		Causal: oracletest.Causal, Scale: 0.5, EmptyRow: attention.EmptyZero,
	}
	truth := p.Run().Expected()
	r := NewReference(p, truth)
	diagnose := func(ctx context.Context, got []float64) Diagnosis {
		return r.Diagnose(ctx, got, compare.Outputs(truth.Shape, got, truth))
	}
	got := planted(t, p, "causal-missing")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	d := diagnose(ended, got)
	require.Equal(t, Unclear, d.Class)
	all := fmt.Sprintf("interrupted: %d of %[1]d mistakes were not tried", len(catalogue.WithVariants))
	require.Contains(t, d.Reasons[0], all)
	requireNothingSaid(t, d)

	// The context ends while mistakes are made. The next diagnosis makes the others.
	midway, cancel := context.WithCancel(t.Context())
	d = diagnose(progress.With(midway, func(u progress.Update) {
		if u.Done == 60 {
			cancel()
		}
	}), got)
	require.Regexp(t, `^interrupted: \d+ of \d+ mistakes were not tried`, d.Reasons[0])
	require.NotContains(t, d.Reasons[0], fmt.Sprintf(" %d of", len(catalogue.WithVariants)))
	requireNothingSaid(t, d)
	d = diagnose(t.Context(), got)
	require.Len(t, d.Matches, 1)
	require.Equal(t, "causal-missing", d.Matches[0].ID())

	// The context ends among the pairs.
	for i := range got {
		got[i] = 1.5*truth.Value[i] + 0.3*float64(i%3)
	}
	late, cancel := context.WithCancel(t.Context())
	d = diagnose(progress.With(late, func(u progress.Update) {
		if strings.Contains(u.Stage, "each other") {
			cancel()
		}
	}), got)
	const text = "interrupted: no known mistake alone gives this output; two at once were not all tried"
	require.Contains(t, d.Reasons[0], text)
	require.Empty(t, d.Matches)
	require.False(t, d.Unexplained)
}

// requireNothingSaid wants no name, and no word that there is none.
func requireNothingSaid(t *testing.T, d Diagnosis) {
	t.Helper()
	require.Empty(t, d.Matches)
	require.False(t, d.Unexplained)
	require.NotContains(t, strings.Join(d.Reasons, "\n"), "no known mistake")
}

// A module's output may be a column, a vector or a number: each counts as rows.
func TestOutputsOfModulesOfAnyShape(t *testing.T) {
	const noGraph = "the case has no graph of this module, so no mistake was tried on it"
	for _, tc := range []struct {
		shape []int
		text  string
	}{
		{[]int{6, 1}, "every wrong row is constant or a copy of another"}, {[]int{6}, noGraph},
		{[]int{2, 3}, noGraph}, {[]int{1, 2, 3}, noGraph}, {[]int{}, noGraph},
	} {
		shape, n := tc.shape, num.Size(tc.shape)
		want := compare.Expected{Shape: shape, Measured: true}
		var got []float64
		for i := range n {
			want.Value, want.Sigma = append(want.Value, float64(i+1)), append(want.Sigma, 1e-6)
			got = append(got, float64(i+1)+0.25+float64(i*i))
		}
		c := compare.Outputs(shape, got, want)
		d := DiagnoseModule(t.Context(), want, nil, nil, got, c)
		require.Equal(t, Unclear, d.Class, shape)
		require.Contains(t, d.Reasons[0], tc.text, shape)
	}
	zero := compare.Expected{Shape: []int{}, Value: []float64{0}, Sigma: []float64{1e-6}, Measured: true}
	d := ofUnknown(zero, func(int, float64) float64 { return 1 })
	require.Contains(t, d.Reasons[0], noGraph, "a zero")
	want := unknown(3, 5, 2, 4)
	d = ofUnknown(want, func(_ int, w float64) float64 { return 5 * w })
	require.Contains(t, d.Reasons[0], "(5, a size of the output)", "the first of three dimensions")
	require.Contains(t, told(unknownModule(&input{module: &replay.Module{}})), "no known mistake in the graph gives this output")
}

// Attention weights are not recovered where they would take much memory: over two million.
func TestWeightsThatAreTooMany(t *testing.T) {
	for length, recovered := range map[int]bool{1448: true, 1449: false} { // sqrt(2^21) is 1448.2
		x := oracle.Array{Shape: []int{1, 1, length, 1}, Value: make([]float64, length)}
		truth := compare.Expected{Shape: x.Shape, Value: x.Value, Sigma: slices.Repeat([]float64{1e-6}, length)}
		r := NewReference(&oracle.Problem{Query: x, Key: x, Value: x, Scale: 1}, truth)
		traced := false
		r.trace = func() oracle.Trace {
			traced = true
			return oracle.Trace{Keys: length, ValueWidth: 1}
		}
		ended, end := context.WithCancel(t.Context())
		end()
		got := slices.Repeat([]float64{1}, length)
		r.Diagnose(ended, got, compare.Outputs(x.Shape, got, truth))
		require.Equal(t, recovered, traced, length)
	}
}

// A NaN in the output of a module is told before anything is searched in its graph.
func TestNaNInAGraph(t *testing.T) {
	got := headOf(t).output()
	got[1], got[len(got)-1] = math.NaN(), math.Inf(1)
	d := inHead(t, got)
	require.Equal(t, NonFinite, d.Class)
	require.Contains(t, d.Reasons[0], "2 of 465 elements are NaN or infinite")
	require.Empty(t, d.Distances)
	column := unknown(3, 6, 1)
	d = ofUnknown(column, func(i int, w float64) float64 { return w + math.Inf(1)*float64(i-4) })
	require.Equal(t, NonFinite, d.Class, "NaN in element 4, and infinities")
	require.Len(t, d.Reasons, 1)
}

// Attention weights are recovered from the output of a layer. A reference without a mistake shares
// the rest.
func TestDiagnosisOfALayer(t *testing.T) {
	p := oracletest.Tall(2)
	truth := p.Run().Expected()
	wrong := p.Clone()
	wrong.Scale *= 1.7
	got := wrong.Run().Value
	c := compare.Outputs(truth.Shape, got, truth)
	r := NewReference(p, truth)
	require.NotNil(t, r.Diagnose(t.Context(), got, c).Pattern)

	broken := slices.Clone(got)
	broken[1] = math.NaN()
	d := r.Diagnose(t.Context(), broken, compare.Outputs(truth.Shape, broken, truth))
	require.Equal(t, NonFinite, d.Class)
	require.Nil(t, d.Pattern)

	placements := [4]attention.Placement{{Weight: "a"}, {Weight: "b"}, {Weight: "c"}, {Weight: "d"}}
	other := r.WithPlacements(placements).WithLayout(attention.SequenceFirst)
	require.Equal(t, placements, other.placements)
	require.Equal(t, attention.SequenceFirst, other.layout)
	require.Same(t, r.mistakes, other.mistakes)
	require.Equal(t, [4]attention.Placement{}, r.placements)

	id := r.Visibility().Seen[0].ID
	less := r.Without(id)
	require.Len(t, less.Visibility().Seen, len(r.Visibility().Seen)-1)
	require.NotContains(t, catalogue.IDs(less.Visibility().Seen), id)
}
