package diagnose

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/variant"
)

// problemOf is a committed case, laid open.
func problemOf(t *testing.T, name string) *oracle.Problem {
	t.Helper()
	c, err := fixture.Read(fixtures.FS, name)
	require.NoError(t, err)
	return oracle.FromCase(c)
}

func blocked(i, j int) bool  { return i/3 == j/3 }
func narrow(i, j int) bool   { return j <= i && j > i-3 }
func oneAhead(i, j int) bool { return j <= i+1 }

// What is recovered are the weights that the output was made with, within sixteen sigma, in every case that they can be
// recovered from, for masks that no catalogue holds.
func TestRecoveredWeightsAreThoseOfTheSubject(t *testing.T) {
	list, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	recovered := 0
	for _, name := range list {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		if c.Op == fixture.Module || c.Precision != fixture.Float32 {
			continue
		}
		p := oracle.FromCase(c)
		for _, change := range []func(p *oracle.Problem){
			func(p *oracle.Problem) { p.Causal = blocked },
			func(p *oracle.Problem) { p.Causal = narrow },
			func(p *oracle.Problem) { p.Scale *= 1.3 },
		} {
			wrong := p.Clone()
			change(wrong)
			got := variant.Variant{}.Run(wrong)
			if slices.ContainsFunc(got, math.IsNaN) {
				continue
			}
			x, stage, _ := pattern(p, p.Trace(), got)
			if x == nil {
				require.NotEqual(t, ValueStage, stage, name)
				continue
			}
			recovered++
			trace := wrong.Trace()
			for at, w := range trace.Weights {
				if math.Abs(trace.Terms[at]) > 1e6 {
					continue // beside which float32 loses the score
				}
				if !(math.Abs(x.Recovered[at]-w) <= x.doubt(at)) {
					t.Fatalf("%s: weight %d: recovered %g, doubt %g, was %g", name, at, x.Recovered[at], x.doubt(at), w)
				}
			}
		}
	}
	t.Log(recovered, "patterns recovered")
	require.Greater(t, recovered, 150)
}

// The mask is described by what is to be seen.
func TestPatternSaysWhichKeysAreSeen(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(p *oracle.Problem)
		stage  Stage
		want   []string
	}{
		{"sdpa/causal", func(p *oracle.Problem) { p.Causal = nil }, MaskStage, []string{"keys after the query are seen that should be hidden, at distances 1 to 8 (432 weights)"}},
		{"sdpa/causal", func(p *oracle.Problem) { p.Causal = oneAhead }, MaskStage, []string{"keys after the query are seen that should be hidden, at distances 1 (96 weights)"}},
		{"sdpa/causal", func(p *oracle.Problem) { p.Causal = narrow }, MaskStage, []string{"keys before the query are not seen that should be, at distances 3 to 8", "query 4 gives weight to keys 2-4, and should to 0-4"}},
		{"sdpa/causal", func(p *oracle.Problem) { p.Causal = blocked }, MaskStage, []string{"keys after the query are seen", "at distances 1-2", "keys before the query are not seen"}},
		{"mha/causal-left-padding", func(p *oracle.Problem) { p.Padding = nil }, MaskStage, []string{"padded keys are seen that should be hidden"}},
		{"mha/causal-left-padding", func(p *oracle.Problem) { p.Causal = narrow }, MaskStage, []string{"keys before the query are not seen that should be, at distances 3 to 8"}},
		{"sdpa/causal", func(p *oracle.Problem) { p.Scale *= 0.75 }, ScaleStage, []string{"scores are 0.75 times the expected ones: the scale is 0.2372, not 0.3162"}},
		{"sdpa/alibi", func(p *oracle.Problem) { p.Scale *= 1.25 }, ScaleStage, []string{"scores are 1.25 times the expected ones"}},
		{"sdpa/sinks", func(p *oracle.Problem) { p.Scale *= 1.25 }, ScaleStage, []string{"scores are 1.25 times the expected ones"}},
		{"sdpa/sinks", func(p *oracle.Problem) { p.Sinks = nil }, SoftmaxStage, []string{"the weights of every row add to 1: no sink takes part"}},
		{"sdpa/sinks", func(p *oracle.Problem) { p.Sinks = []float64{2, 1, 0, -1} }, ScoreStage, nil},
		{"mha/causal", func(p *oracle.Problem) { redraw(p, QueryMap, "weight") }, ScoreStage, nil},
		{"mha/causal", func(p *oracle.Problem) { redraw(p, KeyMap, "weight") }, ScoreStage, nil}, // one weight is too small to be told from none
		{"sdpa/causal", func(p *oracle.Problem) {
			swap(p.Query.Value, len(p.Query.Value)/12)
			swap(p.Key.Value, len(p.Key.Value)/12)
		}, HeadsStage, []string{"heads weigh as others should: head 0 as head 1, head 1 as head 0"}},
	} {
		p := problemOf(t, tc.name)
		wrong := p.Clone()
		wrong.Query.Value, wrong.Key.Value = slices.Clone(p.Query.Value), slices.Clone(p.Key.Value)
		tc.change(wrong)
		x, stage, reason := pattern(p, p.Trace(), variant.Variant{}.Run(wrong))
		require.NotNil(t, x, "%s: %s", tc.name, reason)
		require.Equal(t, tc.stage, stage, "%s: %v", tc.name, x.Findings)
		for _, want := range tc.want {
			require.Contains(t, strings.Join(x.Findings, "\n"), want, tc.name)
		}
		if tc.want == nil {
			require.Empty(t, x.Findings, tc.name)
		}
	}
}

// swap exchanges the first two of every four blocks.
func swap(values []float64, block int) {
	for first := 0; first < len(values); first += 4 * block {
		a, b := values[first:][:block], values[first+block:][:block]
		for i := range a {
			a[i], b[i] = b[i], a[i]
		}
	}
}

// Weights are not recovered where values or output are wrong, where a mixture does not show them, or in vain.
func TestPatternIsRefused(t *testing.T) {
	for _, m := range []Projection{ValueMap, OutputMap} {
		p := problemOf(t, "mha/causal")
		wrong := p.Clone()
		redraw(wrong, m, "weight")
		x, stage, reason := pattern(p, p.Trace(), variant.Variant{}.Run(wrong))
		require.Nil(t, x)
		require.Equal(t, ValueStage, stage)
		require.Contains(t, reason, "values or output projection differ")
	}
	for name, want := range map[string]string{
		"sdpa/narrow-values":       "10 keys and 6 features of a value",
		"decoder/qwen-biases":      "an output of 44 features cannot show the 60 of all contexts",
		"mha/weights-left-padding": "rows that see no key are NaN",
	} {
		p := problemOf(t, name)
		x, stage, reason := pattern(p, p.Trace(), p.Run().Value)
		require.Nil(t, x)
		require.Empty(t, stage)
		require.Contains(t, reason, want)
	}
	p := problemOf(t, "mha/float-mask") // ten keys, ten features: everything is a mixture
	wrong := p.Clone()
	redraw(wrong, ValueMap, "weight")
	x, _, reason := pattern(p, p.Trace(), variant.Variant{}.Run(wrong))
	require.Nil(t, x)
	require.Equal(t, "what would be weights is below zero or above one: values or output may differ", reason)
}

func TestPicture(t *testing.T) {
	x := &Pattern{
		Heads: 2, PerBatch: 2, Queries: 2, Keys: 3, Shown: 1,
		Recovered: append(make([]float64, 6), 1, 0, 0, 0.5, 0.6, -0.1), Expected: append(make([]float64, 6), 0.02, 0.98, 0, 0.3, 0.3, 0.4),
		Uncertainty: slices.Repeat([]float64{1e-9}, 12),
	}
	require.Equal(t, []string{
		"recovered  expected   batch 0 head 1",
		"|@  |      |.@ |",
		"|+*!|      |--=|",
		"a column a key, a line a query: blank 0, then . : - = + * # % @, a ninth each",
	}, x.Picture())
}

// A scale that no catalogue holds is found, whatever else scores are made of, and nothing else is called a scale.
func TestScale(t *testing.T) {
	for _, name := range []string{"sdpa/causal", "sdpa/gqa", "sdpa/sinks", "sdpa/softcap", "sdpa/no-batch", "sdpa/decode", "mha/causal-left-padding", "decoder/gemma", "decoder/alibi", "decoder/cache"} {
		p := problemOf(t, name)
		shape := p.Run().Shape
		for _, factor := range []float64{0.3, 0.75, 1.001, 1.3, 2.9} {
			wrong := p.Clone()
			wrong.Scale *= factor
			x := scaleFit(p, shape, variant.Variant{}.Run(wrong), 0)
			require.True(t, x.Explains(), "%s, %g: %+v", name, factor, x)
			require.Contains(t, x.Detail, "times as large", name)
		}
		wrong := p.Clone()
		wrong.Query.Value = slices.Clone(p.Query.Value)
		wrong.Query.Value[len(wrong.Query.Value)-1]++
		require.False(t, scaleFit(p, shape, variant.Variant{}.Run(wrong), 0).Explains(), name)
	}
}

// A weight that cannot be told from 0 may be a low score: it is lost only where all heads say so, of several keys.
func TestLostKeys(t *testing.T) {
	const keys = 4
	x := &Pattern{Heads: 2, PerBatch: 2, Queries: 1, Keys: keys, Expected: slices.Repeat([]float64{0.25}, 2*keys), Uncertainty: slices.Repeat([]float64{1e-9}, 2*keys)}
	sees := oracle.Trace{Sees: slices.Repeat([]bool{true}, 2*keys)}
	x.Recovered = []float64{1, 0, 0, 0, 0.25, 0.25, 0.25, 0.25}
	require.Empty(t, x.lost(sees), "in one head of two")
	x.Recovered = []float64{0.5, 0.5, 0, 0, 0.5, 0.5, 0, 0}
	require.Empty(t, x.lost(sees), "two keys")
	x.Recovered = []float64{1, 0, 0, 0, 1, 0, 0, 0}
	require.Equal(t, []int{1, 2, 3, 5, 6, 7}, x.lost(sees))
	x.PerBatch = 1
	require.Empty(t, x.lost(sees), "one head a batch element")
}
