package judge

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/sites"
)

// The catalogue lacks a mistake in a model, and its equivalents on the case. The output of the
// mistake then gets no name, or a name that gives the same output in exact arithmetic, such as a
// number that happens to have this value.
func TestAMistakeInAModelThatIsLeftOutGetsNoWrongName(t *testing.T) {
	campaign.SkipShort(t)
	small, _ := plantedIn(t, "deep")
	cases, oneIn := []*fixture.Case{small}, 10
	if campaign.Full() {
		for _, name := range []string{"models/llama", "models/gemma2"} {
			cases = append(cases, harnesstest.ReadCase(t, name))
		}
		oneIn = 40
	}
	judged := 0
	for _, c := range cases {
		referee, err := New(t.Context(), c, oracle.Precision{})
		require.NoError(t, err)
		made := visiblyMade(t, c, referee.Expected())
		for n, m := range made {
			if n%oneIn != oneIn/2 {
				continue
			}
			judged++
			without := referee.withoutAll(m, made)
			if r := judgeModel(t, without, c, m.inFloat32(t, c)); len(givenNames(r)) == 0 {
				continue
			}
			exact := givenNames(judgeModel(t, without, c, m.want.Value))
			assert.NotEmpty(t, exact, "%s: %s", c.Name, m.ID)
			for name, off := range exact {
				assert.Less(t, off, 1e-9, "%s: %s is called %s", c.Name, m.ID, name)
			}
		}
	}
	require.Greater(t, judged, 1)
}

// madeMistake is a mistake at all of its places, with its output and noise.
type madeMistake struct {
	catalogue.Mistake
	graph *graph.Graph
	want  compare.Expected
}

// visiblyMade makes each mistake that the case sees.
func visiblyMade(t *testing.T, c *fixture.Case, truth compare.Expected) []madeMistake {
	t.Helper()
	g, view, right := viewOf(t, c)
	var made []madeMistake
	for _, m := range slices.Concat(edits.Mistakes, sites.Mistakes(g, sites.Find(view, right))) {
		at := view.Sites(m.Edit)
		if len(at) == 0 {
			continue
		}
		edited := view.Apply(m.Edit, at).Until(g.Output)
		wrong, err := graph.Outputs(g, edited, right, g.Output)
		if err != nil {
			continue // no program gives an output
		}
		value := truth.Blank(wrong[g.Output].Data)
		if !compare.Outputs(truth.Shape, value, truth).OK() {
			want := compare.Expected{Shape: truth.Shape, Value: value, Measured: true}
			made = append(made, madeMistake{m, edited, want})
		}
	}
	return made
}

// inFloat32 returns the output of the mistake in float32.
func (m madeMistake) inFloat32(t *testing.T, c *fixture.Case) []float64 {
	t.Helper()
	given, err := graph.Given[float32](m.graph, c.Given)
	require.NoError(t, err)
	values, err := graph.Run(m.graph, given)
	require.NoError(t, err)
	var output []float64
	for _, x := range values[m.graph.Output].Data {
		output = append(output, float64(x))
	}
	return output
}

// withoutAll returns a referee without a mistake and without the mistakes that give the same output
// within the noise.
func (r *Referee) withoutAll(m madeMistake, made []madeMistake) *Referee {
	without := r.Without(m.ID)
	sigma, err := graph.NoiseOf(m.graph, r.c.Given, graph.Values[float64]{
		m.graph.Output: {Shape: m.want.Shape, Data: m.want.Value},
	})
	if err != nil {
		return without
	}
	want := m.want
	want.Sigma = sigma[m.graph.Output]
	for _, other := range made {
		if compare.Outputs(want.Shape, other.want.Value, want.WithPadding(r.expected.Padded)).OK() {
			without = without.Without(other.ID)
		}
	}
	return without
}

// givenNames maps the names that a diagnosis gives to their residuals.
func givenNames(r report.Result) map[string]float64 {
	names := map[string]float64{}
	for _, m := range r.Diagnosis.Matches {
		names[m.Title()] = m.Residual
	}
	for _, n := range r.Diagnosis.Numbers {
		names[n.String()] = n.Residual
	}
	for _, f := range r.Diagnosis.Fits {
		if f.Explains() {
			names["other values of "+f.Freed] = f.Residual
		}
	}
	return names
}

// An output a little outside the noise has another cause than a mistake that changes nothing on the
// case, whose own noise is a little larger.
func TestAnOutputBesideTheNoiseHasNoName(t *testing.T) {
	const off = 2.02 // rms z; the limit is 2
	c, _ := plantedIn(t, "gpt")
	referee, err := New(t.Context(), c, oracle.Precision{})
	require.NoError(t, err)
	truth, r := referee.Expected(), rand.New(rand.NewPCG(1, 2))
	drawn := make([]float64, len(truth.Value))
	for i := range drawn {
		drawn[i] = r.NormFloat64()
	}
	got := slices.Clone(truth.Value)
	for i := range got {
		got[i] += off / num.RMS(drawn) * drawn[i] * truth.Sigma[i]
	}
	require.False(t, compare.Outputs(truth.Shape, got, truth).OK())
	found, cut := referee.module.Find(t.Context(), got)
	require.Empty(t, cut)
	require.Empty(t, found)
}
