package diagnose

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/variant"
)

func TestClasses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(y []float64)
		class  Class
		reason string
	}{
		{
			"NaN in a row that sees keys", func(y []float64) { y[8] = math.NaN() },
			NonFinite, "1 of 24 elements are NaN or infinite",
		},
		{
			"NaN where no key is seen", func(y []float64) { y[0], y[1] = math.NaN(), math.NaN() },
			NonFinite, "all of them in rows that see no key",
		},
		{
			"NaN in both", func(y []float64) { y[0], y[8] = math.NaN(), math.Inf(1) },
			NonFinite, "2 of 24 elements",
		},
		{"infinity everywhere", func(y []float64) {
			for i := range y {
				y[i] = math.Inf(1)
			}
		}, NonFinite, "24 of 24 elements"},
		{"zero", func(y []float64) { clear(y) }, Dead, "every element is 0"},
		{"one row", func(y []float64) {
			for i := range y {
				y[i] = float64(i % 4)
			}
		}, Dead, "every row is the same"},
		{
			"two values exchanged", func(y []float64) { y[0], y[20] = y[20], y[0] },
			WrongLayout, "the expected values in another order",
		},
		{
			"features reversed", func(y []float64) {
				for row := range 6 {
					slices.Reverse(y[row*4:][:4])
				}
			},
			WrongLayout, "output.flip(2) is the expected output",
		},
		{"rows that see one key are right", func(y []float64) {
			for _, row := range []int{2, 4, 5} {
				for c := range 4 {
					y[row*4+c] += 0.1 * float64(c+1)
				}
			}
		}, Unclear, "the 2 rows that see one key are right and all others are wrong"},
		{"all wrong", func(y []float64) {
			for i := range y {
				y[i] = 0.9*y[i] + 0.3*math.Cos(float64(i))
			}
		}, Unclear, "no known mistake gives this output on this case"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := changed(oracletest.Padded(), tc.change)
			require.Equal(t, tc.class, d.Class, d.Reasons)
			require.Contains(t, strings.Join(d.Reasons, "\n"), tc.reason)
			require.Equal(t, tc.class == Unclear, d.Unexplained)
			if tc.name == "NaN in both" {
				require.NotContains(t, strings.Join(d.Reasons, "\n"), "all of them")
			}
		})
	}
}

// A step that is cut off ends the checklist, whatever step it is, and is reported once. The fits
// of earlier steps are kept.
func TestAskStopsAtACut(t *testing.T) {
	const steps = 4
	for cutOff := range steps {
		ran := 0
		var list []step
		for i := range steps {
			list = append(list, step{"step", func(context.Context, *input, fit.Result) answer {
				ran++
				switch i {
				case cutOff:
					return answer{cut: "the work of this step"}
				case 1:
					return answer{fits: &fit.Result{Head: "found early"}}
				}
				return answer{}
			}})
		}
		c := ask(t.Context(), list, &input{})
		require.Equal(t, cutOff+1, ran)
		require.True(t, c.interrupted)
		require.Equal(t, []string{"interrupted: the work of this step"}, c.reasons)
		require.Equal(t, Unclear, c.class)
		require.Equal(t, cutOff > 1, c.fits.Head == "found early")
	}
}

// The first step that decides ends the checklist, and later steps get the fits of earlier ones.
func TestAskStopsAtADecision(t *testing.T) {
	never := step{"never", func(context.Context, *input, fit.Result) answer {
		t.Error("a step ran after the decision")
		return answer{}
	}}
	fits := step{"fits", func(context.Context, *input, fit.Result) answer {
		return answer{fits: &fit.Result{Reasons: []string{"another weight"}}}
	}}
	nothing := step{"nothing", check(func(*input) *finding { return nil })}
	c := ask(t.Context(), []step{nothing, fits, nothing, {"other parameters", otherParameters}, never}, &input{})
	require.False(t, c.interrupted)
	require.Equal(t, WrongWeights, c.class)
	require.Equal(t, []string{"another weight"}, c.reasons)
	require.Equal(t, []string{"another weight"}, c.fits.Reasons)
}

// Notes and distances of all steps are kept in their order.
func TestAskKeepsNotesAndDistances(t *testing.T) {
	says := func(a answer) step {
		return step{"step", func(context.Context, *input, fit.Result) answer { return a }}
	}
	near, far := replay.Distance{ID: "near", Residual: 0.1}, replay.Distance{ID: "far", Residual: 1}
	c := ask(t.Context(), []step{
		says(answer{note: "first"}), says(answer{distances: []replay.Distance{near}}),
		says(answer{note: "second", distances: []replay.Distance{far}}),
	}, &input{})
	require.Equal(t, []string{"first", "second"}, c.notes)
	require.Equal(t, []replay.Distance{near, far}, c.distances)
	require.Empty(t, c.reasons)
	require.False(t, c.interrupted)
}

// Every step that takes long is cut off when the context ends, decides nothing then, and is
// reported once. No other step asks for the context.
func TestEveryLongStepIsCutOff(t *testing.T) {
	p := oracletest.Committed(t, "mha/unmasked")
	truth := p.Run().Expected()
	got := variant.Variant{Store: variant.BFloat16}.Run(p) // nothing stands out: rounding is long
	c := compare.Outputs(truth.Shape, got, truth)
	in := &input{problem: p, truth: truth, got: got, comparison: c, visible: p.Visible(), trace: p.Trace}
	in.structure = newStructure(c, in.visible)
	var cut replay.Cut
	in.replays, cut = replay.NewOutput(t.Context(), replay.NewCase(p, truth), got, c)
	require.Empty(t, cut)

	cuts := map[string]string{
		"one mistake":                    "mistakes that come near were not made with their noise",
		"lower precision":                "fewer bits, and no two mistakes",
		"one wrong number":               "not every number of the configuration was searched",
		"rounding":                       "the noise of fewer bits, and no two mistakes",
		"one mistake in lower precision": "mistakes in fewer bits, and no two mistakes",
		"least squares":                  "other parameters were not all tried, and no two mistakes",
		"a wrong number and a mistake":   "a wrong number beside a mistake was not searched everywhere",
		"two mistakes":                   "two at once were not all tried",
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for i, s := range checklist {
		t.Run(s.name, func(t *testing.T) {
			a := s.run(ended, in, fit.Result{})
			want, long := cuts[s.name]
			require.Equal(t, long, a.cut != "")
			if !long {
				return
			}
			require.Contains(t, string(a.cut), want)
			require.Nil(t, a.finding)
			c := ask(ended, checklist[i:], in)
			require.True(t, c.interrupted)
			require.Equal(t, 1, strings.Count(strings.Join(c.reasons, "\n"), "interrupted: "))
			require.Equal(t, "interrupted: "+string(a.cut), c.reasons[0])
		})
	}
	in.unmade = "some mistakes"
	require.Equal(t, replay.Cut("some mistakes"), everyMistake(t.Context(), in, fit.Result{}).cut)
}

// An interrupted diagnosis names the nearest mistake among the tried ones.
func TestInterruptedNamesTheNearest(t *testing.T) {
	p := oracletest.Padded()
	truth := p.Run().Expected()
	got := planted(t, p, "causal-missing")
	c := compare.Outputs(truth.Shape, got, truth)
	in := &input{}
	in.replays, _ = replay.NewOutput(t.Context(), replay.NewCase(p, truth), got, c)
	f := interrupted(in, "pairs")
	require.Len(t, f.reasons, 2)
	require.Equal(t, "of what was tried, the causal mask missing comes nearest: residual 0", f.reasons[1])
}

func TestStepsHaveDistinctNames(t *testing.T) {
	for _, list := range [][]step{checklist, structural} {
		names := map[string]bool{}
		for _, s := range list {
			require.NotEmpty(t, s.name)
			require.False(t, names[s.name], s.name)
			names[s.name] = true
		}
	}
}
