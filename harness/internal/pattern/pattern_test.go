package pattern

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/oracletest"
	"github.com/difftest/difftest/harness/internal/variant"
)

func blocked(i, j int) bool  { return i/3 == j/3 }
func narrow(i, j int) bool   { return j <= i && j > i-3 }
func oneAhead(i, j int) bool { return j <= i+1 }

// redraw draws a weight anew, of the same size, in float32.
func redraw(l *oracle.Linear, seed uint64) {
	r := rand.New(rand.NewPCG(11, seed))
	size := num.RMS(l.Weight)
	for i := range l.Weight {
		l.Weight[i] = float64(float32(size * r.NormFloat64()))
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

// The recovered weights are the subject's, within sixteen sigma, in every committed case that
// allows recovery, for masks that no catalogue holds.
func TestRecoveredWeightsAreTheSubjects(t *testing.T) {
	list, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	recovered := 0
	for _, name := range list {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		if c.Op == fixture.Module || c.Op == fixture.Rotary || c.Precision != fixture.Float32 {
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
			r := Recover(p, p.Trace(), got)
			if r.Pattern == nil {
				require.NotEqual(t, ValueStage, r.Stage, name)
				continue
			}
			recovered++
			requireWeights(t, name, r.Pattern, wrong.Trace())
		}
	}
	t.Log(recovered, "patterns recovered")
	require.Greater(t, recovered, 150)
}

func requireWeights(t *testing.T, name string, x *Pattern, want oracle.Trace) {
	t.Helper()
	for at, w := range want.Weights {
		if math.Abs(want.Terms[at]) > 1e6 {
			continue // beside such a term float32 loses the score
		}
		if !(math.Abs(x.Recovered[at]-w) <= x.doubt(at)) {
			const text = "%s: weight %d: recovered %g, doubt %g, was %g"
			t.Fatalf(text, name, at, x.Recovered[at], x.doubt(at), w)
		}
	}
}

// The findings describe the mask, the scale or the heads.
func TestPatternSaysWhatIsWrong(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(p *oracle.Problem)
		stage  Stage
		want   []string
	}{
		{"sdpa/causal", func(p *oracle.Problem) { p.Causal = nil }, MaskStage, []string{
			"keys after the query are seen that should be hidden, at distances 1 to 8 (432 weights)",
		}},
		{"sdpa/causal", func(p *oracle.Problem) { p.Causal = oneAhead }, MaskStage, []string{
			"keys after the query are seen that should be hidden, at distances 1 (96 weights)",
		}},
		{"sdpa/causal", func(p *oracle.Problem) { p.Causal = narrow }, MaskStage, []string{
			"keys before the query are not seen that should be, at distances 3 to 8",
			"query 4 gives weight to keys 2-4, and should to 0-4",
		}},
		{"sdpa/causal", func(p *oracle.Problem) { p.Causal = blocked }, MaskStage, []string{
			"keys after the query are seen", "at distances 1-2", "keys before the query are not seen",
		}},
		{"mha/causal-left-padding", func(p *oracle.Problem) { p.Padding = nil }, MaskStage, []string{
			"padded keys are seen that should be hidden",
		}},
		{"mha/causal-left-padding", func(p *oracle.Problem) { p.Causal = narrow }, MaskStage, []string{
			"keys before the query are not seen that should be, at distances 3 to 8",
		}},
		{"sdpa/causal", func(p *oracle.Problem) { p.Scale *= 0.75 }, ScaleStage, []string{
			"scores are 0.75 times the expected ones: the scale is 0.2372, not 0.3162",
		}},
		{"sdpa/alibi", func(p *oracle.Problem) { p.Scale *= 1.25 }, ScaleStage, []string{
			"scores are 1.25 times the expected ones",
		}},
		{"sdpa/sinks", func(p *oracle.Problem) { p.Scale *= 1.25 }, ScaleStage, []string{
			"scores are 1.25 times the expected ones",
		}},
		{"sdpa/sinks", func(p *oracle.Problem) { p.Sinks = nil }, SoftmaxStage, []string{
			"the weights of every row add to 1: no sink takes part",
		}},
		{"sdpa/sinks", func(p *oracle.Problem) { p.Sinks = []float64{2, 1, 0, -1} }, ScoreStage, nil},
		{"mha/causal", func(p *oracle.Problem) { redraw(&p.Layer.Query, 0) }, ScoreStage, nil},
		// One weight is too small to be told from 0.
		{"mha/causal", func(p *oracle.Problem) { redraw(&p.Layer.Key, 1) }, ScoreStage, nil},
		{"sdpa/causal", func(p *oracle.Problem) {
			swap(p.Query.Value, len(p.Query.Value)/12)
			swap(p.Key.Value, len(p.Key.Value)/12)
		}, HeadsStage, []string{
			"heads weigh as others should: head 0 as head 1, head 1 as head 0",
		}},
	} {
		p := oracletest.Committed(t, tc.name)
		wrong := p.Clone()
		wrong.Query.Value, wrong.Key.Value = slices.Clone(p.Query.Value), slices.Clone(p.Key.Value)
		tc.change(wrong)
		r := Recover(p, p.Trace(), variant.Variant{}.Run(wrong))
		require.NotNil(t, r.Pattern, "%s: %s", tc.name, r.Reason)
		require.Equal(t, tc.stage, r.Stage, "%s: %v", tc.name, r.Pattern.Findings)
		for _, want := range tc.want {
			require.Contains(t, strings.Join(r.Pattern.Findings, "\n"), want, tc.name)
			require.Contains(t, strings.Join(r.Lines(), "\n"), "recovered attention weights: ", tc.name)
		}
		if tc.want == nil {
			require.Empty(t, r.Pattern.Findings, tc.name)
			require.Len(t, r.Lines(), 1)
			require.Contains(t, r.Lines()[0], "the scores differ")
		}
	}
}

// Weights are not recovered if values or output are wrong, or a mixture does not show them, or
// they would be too uncertain.
func TestPatternIsRefused(t *testing.T) {
	for index, linear := range []func(*oracle.Layer) *oracle.Linear{
		func(l *oracle.Layer) *oracle.Linear { return &l.Value },
		func(l *oracle.Layer) *oracle.Linear { return &l.Output },
	} {
		p := oracletest.Committed(t, "mha/causal")
		wrong := p.Clone()
		redraw(linear(wrong.Layer), uint64(2+index))
		r := Recover(p, p.Trace(), variant.Variant{}.Run(wrong))
		require.Nil(t, r.Pattern)
		require.Equal(t, ValueStage, r.Stage)
		require.Contains(t, r.Reason, "they are not all that is wrong")
		require.Equal(t, []string{r.Reason}, r.Lines())
	}
	for name, want := range map[string]string{
		"sdpa/narrow-values":       "10 keys and 6 features of a value",
		"decoder/qwen-biases":      "an output of 44 features cannot show the 60 of all contexts",
		"mha/weights-left-padding": "rows that see no key are NaN",
	} {
		p := oracletest.Committed(t, name)
		r := Recover(p, p.Trace(), p.Run().Value)
		require.Nil(t, r.Pattern)
		require.Empty(t, r.Stage)
		require.Contains(t, r.Reason, want)
		require.Empty(t, r.Lines())
	}
	// With ten keys and ten features, every context is a mixture.
	p := oracletest.Committed(t, "mha/float-mask")
	wrong := p.Clone()
	redraw(&wrong.Layer.Value, 2)
	r := Recover(p, p.Trace(), variant.Variant{}.Run(wrong))
	require.Nil(t, r.Pattern)
	require.Equal(t, "what would be weights is below zero or above one: values or output may differ", r.Reason)
}

func TestPicture(t *testing.T) {
	x := &Pattern{
		Heads: 2, PerBatch: 2, Queries: 2, Keys: 3, Shown: 1,
		Recovered:   append(make([]float64, 6), 1, 0, 0, 0.5, 0.6, -0.1),
		Expected:    append(make([]float64, 6), 0.02, 0.98, 0, 0.3, 0.3, 0.4),
		Uncertainty: slices.Repeat([]float64{1e-9}, 12),
	}
	require.Equal(t, []string{
		"recovered  expected   batch 0 head 1",
		"|@  |      |.@ |",
		"|+*!|      |--=|",
		"a column a key, a line a query: blank 0, then . : - = + * # % @, a ninth each",
	}, x.Picture())
}

func BenchmarkRecover(b *testing.B) {
	p := oracletest.Committed(b, "mha/unmasked")
	trace := p.Trace()
	got := p.Run().Value
	for b.Loop() {
		Recover(p, trace, got)
	}
}
