package diagnose_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// problem is causal self-attention of two heads over three positions, two batch elements, the
// first of them padded on the left, so that its query 0 sees no key and its query 1 sees one.
func problem() *oracle.Problem {
	array := func(shift float64, shape ...int) oracle.Array {
		t := attention.NewTensor(shape...)
		for i := range t.Data {
			t.Data[i] = float32(math.Sin(float64(i)*1.7 + shift))
		}
		return oracle.Array{Shape: shape, Value: t.Float64s()}
	}
	linear := func(shift float64) oracle.Linear {
		return oracle.Linear{In: 4, Out: 4, Bias: []float64{0.5, -0.25, 0.125, 1}, Weight: array(shift, 4, 4).Value}
	}
	p := &oracle.Problem{Query: array(0, 2, 3, 4), Causal: past, Scale: math.Sqrt(0.5), Padding: attention.NewMask(2, 3)}
	p.Key, p.Value = p.Query, p.Query
	p.Padding.Data[0] = true
	p.Layer = &oracle.Layer{Heads: 2, KVHeads: 2, Query: linear(1), Key: linear(2), Value: linear(3), Output: linear(4)}
	return p
}

func past(query, key int) bool { return key <= query }

// diagnosed changes the right output and diagnoses it.
func diagnosed(p *oracle.Problem, change func(y []float64)) diagnose.Diagnosis {
	truth := p.Run().Expected()
	got := append([]float64{}, truth.Value...)
	change(got)
	return diagnose.NewReference(p, truth).Diagnose(context.Background(), got, compare.Outputs(truth.Shape, got, truth))
}

func TestRightOutputNeedsNoDiagnosis(t *testing.T) {
	require.Empty(t, cmp.Diff(diagnosed(problem(), func([]float64) {}), diagnose.Diagnosis{Class: diagnose.Right}))
}

func TestStructure(t *testing.T) {
	d := diagnosed(problem(), func(y []float64) {
		y[4]++  // batch 0, row 1, feature 0
		y[11]++ // batch 0, row 2, feature 3
		y[23]++ // batch 1, row 2, feature 3
	})
	s := d.Structure
	require.Equal(t, [][]bool{{false, true, true}, {false, false, true}}, s.Wrong)
	require.Equal(t, [][]int{{0, 1, 2}, {1, 2, 3}}, s.Visible)
	require.Equal(t, []int{0, 1}, s.WrongBatches)
	require.Equal(t, []int{1, 2}, s.WrongRows)
	require.Equal(t, []int{0, 3}, s.WrongFeatures)
	require.True(t, s.FirstRowExact)
	require.False(t, s.LastRowExact)
	require.Equal(t, []string{"-xx  batch 0", "..x  batch 1"}, s.Picture())
}

func TestPictureJoinsNeighbours(t *testing.T) {
	s := diagnose.Structure{
		Lead:    []int{2, 2},
		Wrong:   [][]bool{{true, false}, {true, false}, {true, false}, {false, false}},
		Visible: [][]int{{1, 2}, {1, 2}, {1, 2}, {0, 2}},
	}
	require.Equal(t, []string{"x.  batch 0 head 0 to batch 1 head 0", "-.  batch 1 head 1"}, s.Picture())
}

func TestClasses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(y []float64)
		class  diagnose.Class
		reason string
	}{
		{"NaN in a row that sees keys", func(y []float64) { y[8] = math.NaN() }, diagnose.NonFinite, "1 of 24 elements are NaN or infinite"},
		{"NaN where no key is seen", func(y []float64) { y[0], y[1] = math.NaN(), math.NaN() }, diagnose.NonFinite, "all of them in rows that see no key"},
		{"NaN in both", func(y []float64) { y[0], y[8] = math.NaN(), math.Inf(1) }, diagnose.NonFinite, "2 of 24 elements"},
		{"infinity everywhere", func(y []float64) {
			for i := range y {
				y[i] = math.Inf(1)
			}
		}, diagnose.NonFinite, "24 of 24 elements"},
		{"zero", func(y []float64) { clear(y) }, diagnose.Dead, "every element is 0"},
		{"one row", func(y []float64) {
			for i := range y {
				y[i] = float64(i % 4)
			}
		}, diagnose.Dead, "every row is the same"},
		{"rows in another order", func(y []float64) { y[0], y[20] = y[20], y[0] }, diagnose.Unclear, "the expected values in another order"},
		{"rows that see one key are right", func(y []float64) {
			for _, row := range []int{2, 4, 5} {
				for c := range 4 {
					y[row*4+c] += 0.1 * float64(c+1)
				}
			}
		}, diagnose.Unclear, "the 2 rows that see one key are right and all others are wrong"},
		{"all wrong", func(y []float64) {
			for i := range y {
				y[i] = 0.9*y[i] + 0.3*math.Cos(float64(i))
			}
		}, diagnose.Unclear, "is as with random weights (up to 1.000), but all biases missing leads as far on this case"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := diagnosed(problem(), tc.change)
			require.Equal(t, tc.class, d.Class, d.Reasons)
			require.Contains(t, strings.Join(d.Reasons, "\n"), tc.reason)
			require.Equal(t, tc.class == diagnose.Unclear, d.Unexplained)
			if tc.name == "NaN in both" {
				require.NotContains(t, strings.Join(d.Reasons, "\n"), "all of them")
			}
		})
	}
}

func TestOtherShape(t *testing.T) {
	p := problem()
	truth := p.Run().Expected()
	c := compare.Outputs([]int{3, 2, 4}, truth.Value, truth)
	d := diagnose.NewReference(p, truth).Diagnose(t.Context(), truth.Value, c)
	require.Equal(t, diagnose.Unclear, d.Class)
	require.Equal(t, []string{"the output has shape (3, 2, 4), want (2, 3, 4): no number was compared"}, d.Reasons)
	require.Nil(t, d.Structure.Wrong)
	require.Empty(t, d.Bands)
}

// Each mistake is found again from its own output, together with the mistakes that give the same.
func TestEveryMistakeIsItsOwnExplanation(t *testing.T) {
	p := problem()
	truth := p.Run().Expected()
	seen := diagnose.NewReference(p, truth).Sight().Seen
	named := 0
	for _, m := range seen {
		if !m.Replayable() {
			continue
		}
		wrong := p.Clone()
		require.True(t, m.Plant(wrong, nil))
		got := wrong.Run().Value
		d := diagnose.NewReference(p, truth).Diagnose(t.Context(), got, compare.Outputs(truth.Shape, got, truth))
		if d.Class == diagnose.Dead {
			continue // zeros, and rows that are all the same, have other causes too
		}
		var ids []string
		for _, match := range d.Matches {
			ids = append(ids, match.ID())
			require.Greater(t, match.Margin, 5.0)
		}
		require.Contains(t, ids, m.ID)
		named++
	}
	require.Greater(t, named, 10)
}

// The expected output times a number, or plus the same in every row, is called that and nothing else.
func TestGainAndShift(t *testing.T) {
	p := problem()
	width := p.Run().Expected().Shape[2]
	for _, tc := range []struct {
		name   string
		change func(y []float64)
		says   string
	}{
		{"gain", func(y []float64) {
			for i := range y {
				y[i] *= 1.25
			}
		}, "the output is the expected one times 1.25 in every element"},
		{"shift", func(y []float64) {
			for i := range y {
				y[i] += 0.125 * float64(i%width-3)
			}
		}, "the output is the expected one plus the same"},
		{"gain but for one element", func(y []float64) {
			for i := range y {
				y[i] *= 1.25
			}
			y[7] += 0.01
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := diagnosed(p, tc.change)
			require.Empty(t, d.Matches)
			said := strings.Join(d.Reasons, "\n")
			require.Equal(t, tc.says != "", strings.Contains(said, "the output is the expected one"), said)
			require.Contains(t, said, tc.says)
		})
	}
}

// Two mistakes at once are found where none alone explains the output.
func TestPairs(t *testing.T) {
	p := problem()
	wrong := p.Clone()
	wrong.Causal, wrong.Padding, wrong.Scale = nil, nil, p.Scale
	truth, got := p.Run().Expected(), wrong.Run().Value
	d := diagnose.NewReference(p, truth).Diagnose(t.Context(), got, compare.Outputs(truth.Shape, got, truth))
	require.Len(t, d.Matches, 1)
	require.Equal(t, "causal-missing+padding-ignored", d.Matches[0].ID())
	require.Equal(t, diagnose.MissingFeature, d.Class)
	require.Contains(t, d.Reasons[0], "computed with the causal mask missing, and the padding mask ignored")
	require.False(t, d.Unexplained)
}

// Noise beyond the limit that is nowhere beyond it by itself: no element is wrong, and nothing
// explains the output.
func TestTooMuchNoise(t *testing.T) {
	p := problem()
	truth := p.Run().Expected()
	got := append([]float64{}, truth.Value...)
	for i := range got {
		got[i] += 3 * truth.Sigma[i] * float64(1-2*(i%2))
	}
	d := diagnose.NewReference(p, truth).Diagnose(t.Context(), got, compare.Outputs(truth.Shape, got, truth))
	require.NotEqual(t, diagnose.Right, d.Class)
	require.Empty(t, d.Matches)
	require.Empty(t, d.Structure.WrongBatches)
}

// A plant changes a copy: the problem stays as it was.
func TestPlantsLeaveTheProblemAlone(t *testing.T) {
	p := problem()
	before := p.Run().Value
	for _, m := range catalogue.Mistakes {
		if m.Replayable() {
			m.Plant(p.Clone(), nil)
		}
	}
	require.Equal(t, before, p.Run().Value)
}

func TestMistakesHaveDistinctNames(t *testing.T) {
	ids, titles := map[string]bool{}, map[string]bool{}
	for _, m := range catalogue.Mistakes {
		require.Regexp(t, `^[a-z0-9]+(-[a-z0-9]+)+$`, m.ID)
		require.False(t, ids[m.ID] || titles[m.Title], m.ID)
		ids[m.ID], titles[m.Title] = true, true
	}
}

func TestSightSortsTheMistakes(t *testing.T) {
	p := problem()
	p.Padding = attention.NewMask(2, 3) // nothing is padded
	sight := diagnose.NewReference(p, p.Run().Expected()).Sight()
	ids := func(list []catalogue.Mistake) (words []string) {
		for _, m := range list {
			words = append(words, m.ID)
		}
		return words
	}
	require.Contains(t, ids(sight.Seen), "causal-missing")
	why := map[string]string{}
	for _, b := range sight.Blind {
		why[b.Mistake.ID] = b.Why
	}
	require.Equal(t, "the output is the same", why["padding-ignored"])
	require.Subset(t, ids(sight.Absent), []string{"causal-added", "mask-ignored", "mask-inverted", "bias-ignored"})
	require.Len(t, catalogue.Mistakes, len(sight.Seen)+len(sight.Blind)+len(sight.Absent))
	for _, m := range sight.Absent {
		require.NotEmpty(t, m.Needs, m.ID)
	}
}

// With one query after all keys a missing causal mask changes nothing, and heads of one feature are
// strided as they are.
func TestSightSaysWhyAndWhatIsAlike(t *testing.T) {
	p := problem()
	for _, in := range []*oracle.Array{&p.Query, &p.Key, &p.Value} {
		*in = oracle.Array{Shape: []int{2, 1, 4}, Value: p.Query.Value[:8]}
	}
	p.Padding = nil
	p.Past = &oracle.Past{Key: oracle.Array{Shape: []int{2, 2, 1, 2}, Value: p.Query.Value[:8]}, Value: oracle.Array{Shape: []int{2, 2, 1, 2}, Value: p.Query.Value[:8]}}
	p.Offset = 1
	sight := diagnose.NewReference(p, p.Run().Expected()).Sight()
	why := map[string]string{}
	for _, b := range sight.Blind {
		why[b.Mistake.ID] = b.Why
	}
	require.Equal(t, "the output is the same: one query, and every key is in its past", why["causal-missing"])
	require.Contains(t, why, "inputs-time-reversed")

	class := sight.Class()
	require.Len(t, class, len(catalogue.Mistakes))
	for i, m := range catalogue.Mistakes {
		require.Equal(t, why[m.ID] != "" || !slices.ContainsFunc(sight.Seen, func(s catalogue.Mistake) bool { return s.ID == m.ID }), class[i] == -1, m.ID)
	}
	for _, group := range sight.Alike {
		require.Greater(t, len(group), 1)
	}
}
